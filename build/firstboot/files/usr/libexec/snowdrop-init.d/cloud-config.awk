# Flatten a #cloud-config document: one line a node, its path, a tab, its kind, a tab, its value.
#
#   users:                      gives   users <tab> list <tab>
#     - name: ann                       users.0 <tab> map <tab>
#       sudo: "x\ny"                    users.0.name <tab> plain <tab> ann
#                                       users.0.sudo <tab> text <tab> x\ny
#
# The subset of YAML 1.2 is defined in docs/cloud-config.md, "Grammar"; every other document is
# refused: the last line is then `!`, a tab, the line's number and the reason, and the exit status
# is 1. A document that is accepted means the same to every YAML parser. Kinds: map, list, plain (a scalar
# without quotes; empty for none) and text (with quotes, or a block). A line feed is written as \n, a backslash
# as \\: `printf %b` reverses this. A key has ? for other characters than letters, digits, - and
# _, so that no path can be forged.
#
# The input has no character 0: awk would not see what follows it. The functions for scalars and
# for [a, b] are in cloud-scalars.awk and cloud-flow.awk, which awk reads together with this file.

BEGIN {
	MAX_LINES = 50000
	MAX_DEPTH = 16
	MAX_NODES = 10000
	MAX_KEY = 256
	MAX_FLOW_LINE = 16384  # each scalar of a line between [ and ] copies the rest of it
	WINDOW = 512
	LONGEST_ESCAPE = 10  # \U and eight digits
	for (number = 128; number < 256; number++) byte[sprintf("%c", number)] = number
}

{
	at = NR
	if (NR > MAX_LINES) refuse("more than " MAX_LINES " lines")
	if ($0 ~ /[\001-\010\013-\037\177]/) refuse("a control character")
	if ($0 ~ /[^\t -~]/) check_characters($0)
	line[NR] = $0
}

END {
	if (bad) exit 1
	last = NR
	at = 1
	skip()
	if (at <= last && line[at] ~ /^---( +#.*| *)$/) {
		at++
		skip()
	}
	started = 1
	skip()
	if (at <= last) {
		if (column_of(line[at]) > 0 && line[at] ~ /^ *\t/) refuse("a tab in the indentation")
		if (!is_entry(line[at], column_of(line[at]))) refuse("expected KEY: VALUE")
		block_mapping("", column_of(line[at]))
		if (at <= last) refuse("a line with less indentation than the first one")
	}
}

function refuse(reason) {
	if (printing) print ""
	print "!\tline " (at > last && last ? last : at) ": " reason
	bad = 1
	exit 1
}

# --- lines ---------------------------------------------------------------------------------

# UTF-8 (RFC 3629) without the characters that YAML does not allow, or takes as the end of a line.
function check_characters(text,    place, size) {
	size = length(text)
	missing = 0
	# In windows: an array of all bytes of a long line would take 100 MiB.
	for (place = 1; place <= size; place += WINDOW) check_bytes(substr(text, place, WINDOW))
	if (missing) refuse("not UTF-8")
}

# `missing` is how many bytes of the character `code` are still to come.
function check_bytes(text,    bytes, count, place, sign) {
	count = split(text, bytes, "")
	for (place = 1; place <= count; place++) {
		sign = (bytes[place] in byte) ? byte[bytes[place]] : 0
		if (missing) {
			if (sign < 128 || sign > 191) refuse("not UTF-8")
			code = code * 64 + sign - 128
			if (--missing == 0) check_character(code, least)
		} else if (sign >= 240 && sign < 245) {
			code = sign - 240
			missing = 3
			least = 65536
		} else if (sign >= 224 && sign < 240) {
			code = sign - 224
			missing = 2
			least = 2048
		} else if (sign >= 192 && sign < 224) {
			code = sign - 192
			missing = 1
			least = 128
		} else if (sign)
			refuse("not UTF-8")
	}
}

function check_character(code, least) {
	if (code < least || code > 1114111 || (code >= 55296 && code <= 57343)) refuse("not UTF-8")
	if (code < 160 || code == 8232 || code == 8233) refuse("a control character")
	if (code == 65279 || code == 65534 || code == 65535) refuse("a control character")
}

function column_of(text) {
	match(text, /^ */)
	return RLENGTH
}

# Go to the next line that has neither only blanks nor a comment.
function skip() {
	while (at <= last && line[at] ~ /^ *(#|$)/) at++
	if (at > last) return
	if (line[at] ~ /^ *\t/) refuse("a tab in the indentation")
	if (started && line[at] ~ /^(---|\.\.\.)([ \t]|$)/) refuse("a second document")
}

function enter() {
	if (++depth > MAX_DEPTH) refuse("more than " MAX_DEPTH " levels")
}

function put(path, kind, text) {
	if (++nodes > MAX_NODES) refuse("more than " MAX_NODES " values")
	print path "\t" kind "\t" escaped(text)
}

function escaped(text) {
	gsub(/\\/, "&&", text)
	if (index(text, "\n")) gsub(/\n/, "\\n", text)
	return text
}

function join_path(path, name) {
	gsub(/[^-_0-9A-Za-z]/, "?", name)
	if (name == "") name = "?"
	return path == "" ? name : path "." name
}

# --- blocks --------------------------------------------------------------------------------

function is_item(text) {
	return text ~ /^-( |$)/
}

function is_entry(text, column) {
	text = substr(text, column + 1)
	return !is_item(text) && find_key(text)
}

function block_node(path, column,    text) {
	text = substr(line[at], column + 1)
	enter()
	if (is_item(text)) block_sequence(path, column)
	else if (find_key(text)) block_mapping(path, column)
	else if (text ~ /^[|>]/) refuse("a text begins with | or > behind its key")
	else inline(path, text)
	depth--
}

# Whether the next line belongs to the block at this column.
function goes_on(column,    found) {
	skip()
	if (at > last) return 0
	found = column_of(line[at])
	if (found > column)
		refuse("unexpected indentation: a value of several lines begins with | or >")
	return found == column
}

function block_sequence(path, column,    number, text) {
	put(path, "list", "")
	number = 0
	while (goes_on(column)) {
		text = substr(line[at], column + 1)
		if (!is_item(text)) return
		item(path "." number++, substr(text, 2), column)
	}
}

function item(path, text, column,    start) {
	match(text, /^ */)
	start = column + 1 + RLENGTH
	text = substr(text, RLENGTH + 1)
	if (text !~ /^[|>#]/ && (is_item(text) || find_key(text))) {
		# A block that begins on the line of its hyphen: the hyphen counts as indentation.
		line[at] = sprintf("%" start "s", "") text
		block_node(path, start)
	} else
		value_of(path, text, column, 0)
}

function block_mapping(path, column,    id, text, name) {
	if (path != "") put(path, "map", "")
	id = ++maps
	while (goes_on(column)) {
		text = substr(line[at], column + 1)
		if (is_item(text)) refuse("a list item among keys")
		if (!find_key(text)) refuse("expected KEY: VALUE")
		name = key
		new_key(id, name)
		value_of(join_path(path, name), behind, column, 1)
	}
}

function new_key(id, name) {
	if (name == "<<") refuse("a merge key (<<)")
	if (length(name) > MAX_KEY) refuse("a key longer than " MAX_KEY " bytes")
	if ((id, name) in seen) refuse("a key for the second time")
	seen[id, name] = 1
}

# Whether the text begins with KEY: ; then `key` is it, and `behind` what follows the colon.
function find_key(text,    first, cut) {
	first = substr(text, 1, 1)
	if (first == "[" || first == "{") return 0
	if (first == "\"" || first == "'") {
		quoted(text)
		if (!match(rest, /^ *:( |$)/)) return 0
		key = quoted_value
		match(rest, /:/)
		behind = substr(rest, RSTART + 1)
		return 1
	}
	cut = without_comment(text)
	if (!match(cut, /:( |$)/)) return 0
	key = substr(cut, 1, RSTART - 1)
	behind = substr(text, RSTART + 1)
	sub(/ +$/, "", key)
	check_plain(key)
	return 1
}

# value_of(path, text behind the colon or hyphen, column of the block, whether a list may begin
# in the same column)
function value_of(path, text, column, may_be_level,    found) {
	sub(/^ +/, "", text)
	if (text ~ /^[|>]/)
		block_scalar(path, text, column)
	else if (text != "" && text !~ /^#/)
		inline(path, text)
	else {
		at++
		skip()
		found = at <= last ? column_of(line[at]) : -1
		if (found > column || (may_be_level && found == column && is_item(substr(line[at], column + 1))))
			block_node(path, found)
		else
			put(path, "plain", "")
	}
}
