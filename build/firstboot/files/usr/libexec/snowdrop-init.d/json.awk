# Flatten a JSON document (RFC 8259): one line a value, its path, a tab, the value.
#
#   {"a": {"b": [1, "x\ny"]}}   gives   a.b.0 <tab> 1   and   a.b.1 <tab> x\ny
#
# A line feed is written as \n, a backslash as \\, the character 0 as \0000: `printf %b`
# reverses this. Other characters are UTF-8. A null is left out; a name with other characters
# than letters, digits, - and _ has ? for them, so that no path can be forged. Exit status 1
# when it is not a complete document whose outermost value is an object, or an array of just
# one object, as the reference of DigitalOcean's API prints it. A byte order mark is left out.
#
# Quotation marks separate records, so each is short or plain text. Otherwise the time would grow
# faster than the document: busybox scans a whole string for each piece that is cut from it.

BEGIN {
	RS = "\""
	turn = "structure"  # then open, a string's first piece, and string, its further ones
	wanted = "value"    # key, colon, value, separator or end
	LEVELS = 32
}

NR == 1 { sub(/^\357\273\277/, "") }

turn == "structure" {
	read_structure($0)
	turn = "open"
	next
}

turn == "open" { open_string() }

{ if (read_string($0)) close_string() }

END {
	if (bad || wanted != "end" || wrapped == 1) exit 1
}

function refuse() {
	bad = 1
	exit 1
}

function path(    text, level) {
	for (level = 1; level <= depth; level++)
		text = text (level > 1 ? "." : "") name[level]
	return text
}

# --- structure: brackets, commas, colons, numbers, words -------------------------------------

function read_structure(text,    token) {
	while (match(text, /[^ \t\r\n]/)) {
		text = substr(text, RSTART)
		token = substr(text, 1, 1)
		if (match(text, /^[-+.0-9A-Za-z]+/)) {
			token = substr(text, 1, RLENGTH)
			scalar(token)
		} else
			punctuation(token)
		text = substr(text, length(token) + 1)
	}
}

function scalar(token) {
	if (wanted != "value" || depth == 0) refuse()
	if (token !~ /^(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)$/) refuse()
	if (token != "null") print path() "\t" token
	ended()
}

function punctuation(token) {
	if (depth == 0 && token == "[" && wanted == "value" && !wrapped)
		wrapped = 1
	else if (depth == 0 && token == "]" && wanted == "end" && wrapped == 1)
		wrapped = 2
	else if (token == "{" || token == "[") {
		if (wanted != "value" || (depth == 0 && token == "[") || depth == LEVELS) refuse()
		kind[++depth] = token
		name[depth] = token == "[" ? 0 : ""
		wanted = token == "[" ? "value" : "key"
		fresh = 1
	} else if (token == "}" || token == "]") {
		if (depth == 0 || kind[depth] != (token == "}" ? "{" : "[")) refuse()
		if (wanted != "separator" && !fresh) refuse()
		depth--
		ended()
	} else if (token == ":" && wanted == "colon") {
		wanted = "value"
	} else if (token == "," && wanted == "separator") {
		if (kind[depth] == "[") name[depth]++
		wanted = kind[depth] == "[" ? "value" : "key"
	} else
		refuse()
}

function ended() {
	wanted = depth ? "separator" : "end"
	fresh = 0
}

# --- strings: a value is written piece by piece ----------------------------------------------

function open_string() {
	if (wanted != "key" && (wanted != "value" || depth == 0)) refuse()
	turn = "string"
	fresh = 0
	high = 0
	if (wanted == "key") name[depth] = ""
	else printf "%s\t", path()
}

function close_string() {
	if (high) refuse()
	turn = "structure"
	if (wanted == "key") {
		gsub(/[^-_0-9A-Za-z]/, "?", name[depth])
		wanted = "colon"
	} else {
		print ""
		ended()
	}
}

function add(text) {
	if (high && text != "") refuse()
	if (wanted == "key") name[depth] = name[depth] text
	else printf "%s", text
}

# Take a record as part of a string; return whether the mark behind it ends the string.
function read_string(text,    pieces, count, number, piece) {
	if (text ~ /[\001-\037]/) refuse()
	count = split(text, pieces, "\\")
	if (count == 0) return 1
	add(pieces[1])
	for (number = 2; number <= count; number++) {
		piece = pieces[number]
		if (piece != "")
			escape(substr(piece, 1, 1), piece)
		else if (number == count) {
			# \" : the mark belongs to the string.
			add("\"")
			return 0
		} else {
			# Two backslashes: what is between the second and the next is plain.
			add("\\\\")
			add(pieces[++number])
		}
	}
	return 1
}

function escape(letter, piece) {
	if (letter == "u") {
		unit(substr(piece, 2, 4))
		add(substr(piece, 6))
		return
	}
	if (letter == "n") add("\\n")
	else if (letter == "t") add("\t")
	else if (letter == "r") add("\r")
	else if (letter == "b") add("\b")
	else if (letter == "f") add("\f")
	else if (letter == "/") add("/")
	else refuse()
	add(substr(piece, 2))
}

# \uXXXX: UTF-16, so that a character beyond U+FFFF is two of them (RFC 8259, section 7).
function unit(hex,    code, place) {
	if (hex !~ /^[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]$/) refuse()
	for (place = 1; place <= 4; place++)
		code = code * 16 + index("0123456789abcdef", tolower(substr(hex, place, 1))) - 1
	if (high) {
		if (code < 56320 || code > 57343) refuse()
		code = 65536 + (high - 55296) * 1024 + code - 56320
		high = 0
	} else if (code >= 55296 && code <= 56319) {
		high = code
		return
	} else if (code >= 56320 && code <= 57343)
		refuse()
	add(utf8(code))
}

function utf8(code) {
	if (code == 0) return "\\0000"
	if (code == 10) return "\\n"
	if (code == 92) return "\\\\"
	if (code < 128) return sprintf("%c", code)
	if (code < 2048) return sprintf("%c", 192 + int(code / 64)) last(code)
	if (code < 65536) return sprintf("%c", 224 + int(code / 4096)) last(int(code / 64)) last(code)
	return sprintf("%c", 240 + int(code / 262144)) last(int(code / 4096)) last(int(code / 64)) last(code)
}

function last(code) {
	return sprintf("%c", 128 + code % 64)
}
