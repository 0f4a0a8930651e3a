# Scalars of a #cloud-config document; a part of cloud-config.awk.

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

# Set `quoted_value`, and `rest` to what follows. A long text is read in windows: each step copies
# what is left, and a file of 1 MiB in quotes may have a hundred thousand escapes.
function quoted(text,    mark, special, size, place, window, taken, part, found, sign) {
	mark = substr(text, 1, 1)
	special = mark == "\"" ? "[\"\\\\]" : "'"
	size = length(text)
	found = ""
	for (place = 2; place <= size; place += taken) {
		# What is read of the window begins in its first part: no escape ends behind it.
		window = substr(text, place, WINDOW + LONGEST_ESCAPE)
		taken = 0
		part = ""
		while (match(window, special) && taken + RSTART <= WINDOW) {
			part = part substr(window, 1, RSTART - 1)
			sign = substr(window, RSTART, 1)
			taken += RSTART
			window = substr(window, RSTART + 1)
			if (sign == "\\") {
				part = part escape(window)
				window = substr(window, used + 1)
				taken += used
			} else if (sign == "'" && substr(window, 1, 1) == "'") {
				part = part "'"
				window = substr(window, 2)
				taken++
			} else {
				quoted_value = found part
				rest = substr(text, place + taken)
				return
			}
		}
		if (taken < WINDOW) {
			part = part substr(window, 1, WINDOW - taken)
			taken = WINDOW
		}
		found = found part
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
