# Flow collections of a #cloud-config document, [a, b] and {a: b}; a part of cloud-config.awk.

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
