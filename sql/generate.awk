# generate.awk: makes an install script, as in
#
#	awk -f sql/generate.awk sql/options.txt sql/eikon_features.sql
#
# A line @file/name@ stands for that file. In other lines, @form group...@ stands for the
# options of these groups in options.txt, which are repeated as
#
#	arguments		name type DEFAULT default		a line for each
#	optional		name type DEFAULT NULL			a line for each
#	values			'name', name					as many to a line as it holds
#	from_jsonb		name => o ->> 'name'			the same, for a jsonb called o

function fail(message)
{
	printf "%s:%d: %s\n", FILENAME, FNR, message > "/dev/stderr"
	exit 1
}

function width(text)
{
	gsub(/\t/, "    ", text)
	return length(text)
}

# The option in the form that is asked for.
function formed(form, i,	literal, value)
{
	literal = "'" key[i] "'"
	if (form == "arguments")
		return name[i] " " type[i] " DEFAULT " default_of[i]
	if (form == "optional")
		return name[i] " " type[i] " DEFAULT NULL"
	if (form == "values")
		return literal ", " name[i]
	value = "o ->> " literal
	if (type[i] != "text")
		value = "(" value ")::" type[i]
	if (default_of[i] != "NULL")
		value = "coalesce(" value ", " default_of[i] ")"
	return name[i] " => " value
}

# before: what stands before the options; also the indent of the lines that follow.
function expand(before, form, groups, after,	filled, indent, line, i, item, first, wanted, n, words)
{
	n = split(groups, words, " ")
	for (i = 1; i <= n; i++) {
		if (!(words[i] in is_group))
			fail("there is no group " words[i])
		wanted[words[i]] = 1
	}
	filled = form == "values" || form == "from_jsonb"
	indent = filled ? "\t\t" : before
	line = before
	first = 1
	for (i = 1; i <= noptions; i++) {
		if (!(group[i] in wanted))
			continue
		item = formed(form, i)
		if (first)
			line = line item
		else if (filled && width(line ", " item ",") <= LINE_WIDTH)
			line = line ", " item
		else {
			print line ","
			line = indent item
		}
		first = 0
	}
	print line after
}

BEGIN {
	LINE_WIDTH = 102
}

# The first file is the list.
FILENAME == ARGV[1] {
	if ($0 ~ /^#/)
		next
	if (NF != 4)
		fail("an option has a name, a type, a default and a group")
	noptions++
	name[noptions] = key[noptions] = $1
	gsub(/"/, "", key[noptions])
	type[noptions] = $2
	default_of[noptions] = $3
	group[noptions] = $4
	is_group[$4] = 1
	next
}

/^@[^ @]+\/[^ @]+@$/ {
	file = substr($0, 2, length($0) - 2)
	while ((status = (getline line < file)) > 0)
		print line
	if (status < 0)
		fail("could not read " file)
	close(file)
	next
}

match($0, /@(arguments|optional|values|from_jsonb)( [a-z_]+)+@/) {
	words = substr($0, RSTART + 1, RLENGTH - 2)
	blank = index(words, " ")
	expand(substr($0, 1, RSTART - 1), substr(words, 1, blank - 1), substr(words, blank + 1),
		substr($0, RSTART + RLENGTH))
	next
}

{
	print
}
