# Split a MIME message of the type multipart (RFC 2046, 5.1): write the body of part N to the file
# FOLDER/part.N, and one line for each part: N, its type, its encoding, all in lower case.
# Exit status 1, and a last line `!`, a tab and the reason, when it is malformed.

BEGIN {
	MAX_PARTS = 32
	state = "header"
}

state == "header" || state == "part header" {
	sub(/\r$/, "")
	if ($0 == "") {
		take_field()
		begin_body()
	} else if ($0 ~ /^[ \t]/)
		field = field " " $0
	else {
		take_field()
		field = $0
	}
	next
}

# The end of the outer header was seen, and so `mark` is set.
substr($0, 1, length(mark)) == mark && substr($0, length(mark) + 1) ~ /^(--)?[ \t]*\r?$/ {
	if (state == "end") next
	if (state == "body") close(file)
	started = 0
	if (substr($0, length(mark) + 1) ~ /^--/) state = "end"
	else {
		state = "part header"
		windows = /\r$/
		type = "text/plain"
		encoding = "7bit"
		if (++parts > MAX_PARTS) refuse("more than " MAX_PARTS " parts")
	}
	next
}

# The line break before a boundary belongs to the boundary. Terraform mixes line ends: those of a
# body are as the one of the boundary before it.
state == "body" {
	if (windows) sub(/\r$/, "")
	printf "%s%s", (started ? "\n" : ""), $0 >file
	started = 1
}

END {
	if (bad) exit 1
	if (state != "end") refuse("it has no end: the last boundary is missing")
	if (!parts) refuse("it has no parts")
}

function refuse(reason) {
	print "!\t" reason
	bad = 1
	exit 1
}

function take_field(    name, colon, text) {
	if (field == "") return
	colon = index(field, ":")
	if (!colon) refuse("a line of a header without a colon")
	name = tolower(substr(field, 1, colon - 1))
	text = substr(field, colon + 1)
	field = ""
	if (name == "content-type") take_type(text)
	if (name == "content-transfer-encoding") {
		gsub(/[ \t]/, "", text)
		encoding = tolower(text)
	}
}

function take_type(text) {
	type = tolower(text)
	sub(/;.*/, "", type)
	gsub(/[^-a-z0-9.+\/]/, "", type)
	if (state != "header") return
	if (!match(tolower(text), /;[ \t]*boundary[ \t]*=[ \t]*/)) refuse("it names no boundary")
	boundary = substr(text, RSTART + RLENGTH)
	if (substr(boundary, 1, 1) == "\"") {
		boundary = substr(boundary, 2)
		sub(/".*/, "", boundary)
	} else
		sub(/[; \t].*/, "", boundary)
	# RFC 2046, 5.1.1.
	if (boundary == "" || length(boundary) > 70) refuse("its boundary is empty, or longer than 70 characters")
	outer = type
}

function begin_body() {
	if (state == "header") {
		if (outer !~ /^multipart\//) refuse("it is not of the type multipart")
		mark = "--" boundary
		state = "preamble"
		return
	}
	gsub(/[^-a-z0-9]/, "", encoding)
	file = FOLDER "/part." parts
	printf "" >file
	print parts, (type == "" ? "none" : type), (encoding == "" ? "none" : encoding)
	state = "body"
}
