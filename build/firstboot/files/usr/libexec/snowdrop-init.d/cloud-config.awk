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
# The input has no character 0: awk would not see what follows it.

BEGIN {
	MAX_LINES = 50000
	MAX_DEPTH = 16
	MAX_NODES = 10000
	MAX_KEY = 256
	MAX_FLOW_LINE = 16384  # each scalar of a line between [ and ] copies the rest of it
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
function check_characters(text,    bytes, count, place, sign, code, left, least) {
	count = split(text, bytes, "")
	for (place = 1; place <= count; place++) {
		sign = (bytes[place] in byte) ? byte[bytes[place]] : 0
		if (left) {
			if (sign < 128 || sign > 191) refuse("not UTF-8")
			code = code * 64 + sign - 128
			if (--left == 0) check_character(code, least)
		} else if (sign >= 240 && sign < 245) {
			code = sign - 240
			left = 3
			least = 65536
		} else if (sign >= 224 && sign < 240) {
			code = sign - 224
			left = 2
			least = 2048
		} else if (sign >= 192 && sign < 224) {
			code = sign - 192
			left = 1
			least = 128
		} else if (sign)
			refuse("not UTF-8")
	}
	if (left) refuse("not UTF-8")
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

# --- scalars -------------------------------------------------------------------------------

function without_comment(text) {
	if (match(text, / #/)) text = substr(text, 1, RSTART - 1)
	sub(/ +$/, "", text)
	return text
}

# Take a value that begins in this line, and go to the line behind it.
function inline(path, text) {
	if (text ~ /^[[{]/) {
		if (length(text) > MAX_FLOW_LINE) refuse("too long for a line with [ or {")
		buffer = text
		flow(path)
		rest = buffer
	} else if (text ~ /^["']/) {
		quoted(text)
		put(path, "text", quoted_value)
	} else {
		rest = ""
		text = without_comment(text)
		check_plain(text)
		if (text ~ /:( |$)/) refuse("a second colon with a blank behind it: put the value in quotes")
		put(path, "plain", text)
	}
	if (rest !~ /^( +#.*| *)$/) refuse("text behind the end of a value")
	at++
}

function check_plain(text,    first) {
	first = substr(text, 1, 1)
	if (first == "&") refuse("an anchor (&)")
	if (first == "*") refuse("an alias (*): put the value in quotes")
	if (first == "!") refuse("a tag (!): put the value in quotes")
	if (first == "" || index("|>%@`\"'#,[]{}?:", first) || is_item(text))
		refuse("a value that begins with " (first == "" ? "nothing" : first) ": put it in quotes")
	if (index(text, "\t")) refuse("a tab in a value: put it in quotes")
}

# Set `quoted_value`, and `rest` to what follows.
function quoted(text,    mark, special, found, sign) {
	mark = substr(text, 1, 1)
	special = mark == "\"" ? "[\"\\\\]" : "'"
	text = substr(text, 2)
	found = ""
	while (match(text, special)) {
		found = found substr(text, 1, RSTART - 1)
		sign = substr(text, RSTART, 1)
		text = substr(text, RSTART + 1)
		if (sign == "\\") {
			found = found escape(text)
			text = substr(text, used + 1)
		} else if (sign == "'" && substr(text, 1, 1) == "'") {
			found = found "'"
			text = substr(text, 2)
		} else {
			quoted_value = found
			rest = text
			return
		}
	}
	refuse("a quotation mark that is not closed in its line")
}

# The escapes of YAML 1.2, 5.7, without the character 0; `used` is their length.
function escape(text,    letter, digits) {
	letter = substr(text, 1, 1)
	used = 1
	if (letter == "n") return "\n"
	if (letter == "t") return "\t"
	if (letter == "\"" || letter == "\\" || letter == "/" || letter == " ") return letter
	if (letter == "a") return "\007"
	if (letter == "b") return "\b"
	if (letter == "v") return "\013"
	if (letter == "f") return "\f"
	if (letter == "r") return "\r"
	if (letter == "e") return "\033"
	if (letter == "N") return utf8(133)
	if (letter == "_") return utf8(160)
	if (letter == "L") return utf8(8232)
	if (letter == "P") return utf8(8233)
	digits = letter == "x" ? 2 : letter == "u" ? 4 : letter == "U" ? 8 : 0
	if (!digits) refuse("an escape that YAML does not have, or that is not supported")
	used = digits + 1
	return utf8(number_of(substr(text, 2, digits), digits))
}

function number_of(hex, digits,    place, code) {
	if (length(hex) != digits || hex !~ /^[0-9A-Fa-f]+$/) refuse("an escape without its digits")
	for (place = 1; place <= digits; place++)
		code = code * 16 + index("0123456789abcdef", tolower(substr(hex, place, 1))) - 1
	if (code == 0 || code > 1114111 || (code >= 55296 && code <= 57343))
		refuse("an escape that is no character")
	return code
}

function utf8(code) {
	if (code < 128) return sprintf("%c", code)
	if (code < 2048) return sprintf("%c", 192 + int(code / 64)) low(code)
	if (code < 65536) return sprintf("%c", 224 + int(code / 4096)) low(int(code / 64)) low(code)
	return sprintf("%c", 240 + int(code / 262144)) low(int(code / 4096)) low(int(code / 64)) low(code)
}

function low(code) {
	return sprintf("%c", 128 + code % 64)
}

# A text behind | or >, written line by line (YAML 1.2, 8.1).
function block_scalar(path, header, column,    folded, chomp, indent, text, breaks, any, spaced, before) {
	sub(/ +#.*$/, "", header)
	sub(/ +$/, "", header)
	if (header !~ /^[|>]([-+]?[1-9]?|[1-9][-+])$/) refuse("text behind | or >")
	folded = substr(header, 1, 1) == ">"
	chomp = index(header, "-") ? "-" : index(header, "+") ? "+" : ""
	at++
	indent = match(header, /[1-9]/) ? column + substr(header, RSTART, 1) : first_indent(column)
	if (++nodes > MAX_NODES) refuse("more than " MAX_NODES " values")
	printf "%s\ttext\t", path
	printing = 1
	for (; at <= last; at++) {
		if (line[at] ~ /^ *$/ && length(line[at]) <= indent) {
			breaks++
			continue
		}
		if (column_of(line[at]) < indent) break
		text = substr(line[at], indent + 1)
		spaced = text ~ /^[ \t]/
		# A single line break between two lines of running text is folded into a blank.
		if (any && (!folded || spaced || before)) printf "\\n"
		else if (any && !breaks) printf " "
		for (; breaks > 0; breaks--) printf "\\n"
		printf "%s", escaped(text)
		before = spaced
		any = 1
	}
	if (any && chomp != "-") printf "\\n"
	for (; breaks > 0 && chomp == "+"; breaks--) printf "\\n"
	print ""
	printing = 0
}

function first_indent(column,    place, longest, found) {
	for (place = at; place <= last && line[place] ~ /^ *$/; place++)
		if (length(line[place]) > longest) longest = length(line[place])
	found = place <= last ? column_of(line[place]) : 0
	if (found <= column) return longest > column ? longest : column + 1
	if (longest > found) refuse("an empty line that is longer than the text's indentation")
	return found
}

# --- flow: [a, b] and {a: b} -----------------------------------------------------------------

function flow(path,    number, id, sign, name) {
	enter()
	sign = substr(buffer, 1, 1)
	put(path, sign == "[" ? "list" : "map", "")
	id = sign == "[" ? 0 : ++maps
	buffer = substr(buffer, 2)
	number = 0
	more()
	while (substr(buffer, 1, 1) != (id ? "}" : "]")) {
		if (id) {
			name = flow_key()
			new_key(id, name)
			more()
			if (buffer ~ /^[,}]/) put(join_path(path, name), "plain", "")
			else flow_node(join_path(path, name))
		} else
			flow_node(path "." number++)
		more()
		if (substr(buffer, 1, 1) == ",") {
			buffer = substr(buffer, 2)
			more()
		} else if (substr(buffer, 1, 1) != (id ? "}" : "]"))
			refuse("expected a comma or " (id ? "}" : "]"))
	}
	buffer = substr(buffer, 2)
	depth--
}

function flow_node(path,    text) {
	if (buffer ~ /^[[{]/) {
		flow(path)
		return
	}
	if (buffer ~ /^["']/) {
		quoted(buffer)
		buffer = rest
		put(path, "text", quoted_value)
		return
	}
	text = plain_part()
	if (match(text, / #/)) {
		text = substr(text, 1, RSTART - 1)
		buffer = ""
	} else
		buffer = substr(buffer, length(text) + 1)
	sub(/ +$/, "", text)
	check_plain(text)
	if (text ~ /[?]/) refuse("a question mark between [ and ]: put the value in quotes")
	if (text ~ /:( |$)/) refuse("KEY: VALUE in the place of a value")
	put(path, "plain", text)
}

function plain_part() {
	return match(buffer, /[][{},]/) ? substr(buffer, 1, RSTART - 1) : buffer
}

function flow_key(    text) {
	if (buffer ~ /^["']/) {
		quoted(buffer)
		sub(/^ +/, "", rest)
		if (substr(rest, 1, 1) != ":") refuse("expected KEY: VALUE between { and }")
		buffer = substr(rest, 2)
		return quoted_value
	}
	text = plain_part()
	if (!match(text, /:( |$)/)) refuse("expected KEY: VALUE between { and }")
	buffer = substr(buffer, RSTART + 1)
	text = substr(text, 1, RSTART - 1)
	sub(/ +$/, "", text)
	check_plain(text)
	if (text ~ /[?]| #/) refuse("a key that needs quotes")
	return text
}

# Go to the next sign, which may be in a further line.
function more(    blank) {
	blank = 0
	for (;;) {
		if (sub(/^ +/, "", buffer)) blank = 1
		if (substr(buffer, 1, 1) == "#") {
			if (!blank) refuse("a comment without a blank before it")
			buffer = ""
		}
		if (buffer != "") return
		at++
		if (at > last) refuse("a [ or { that is not closed")
		if (line[at] ~ /^(---|\.\.\.)([ \t]|$)/) refuse("a [ or { that is not closed")
		if (line[at] ~ /^ *\t/) refuse("a tab in the indentation")
		if (length(line[at]) > MAX_FLOW_LINE) refuse("too long for a line with [ or {")
		buffer = line[at]
		blank = 1
	}
}
