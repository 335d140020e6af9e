# digest.awk: of what go test -v says a line for each package, and of what failed
# its own words, as much as one cares to read. The file sums gets the numbers of
# tests passed, failed and skipped, the file skips the skipped ones with their
# reasons, the file failures the names of what failed. Whatever ends go test:
# there is a number of failures other than 0 unless its status, in status_file,
# was 0.

# What go test says of a package that it could not build comes at any time.
/^# kowaza/ { building = 1 }
building && /^(===|---|ok|FAIL|    )/ { building = 0 }
building { if (++built <= 60) print; next }

# A test says its lines after its name, which go test repeats where tests run at
# the same time.
/^=== (RUN|CONT|NAME|PAUSE) / { at = $3; next }
isResult() {
	if ($2 == "PASS:") passed++
	if ($2 == "SKIP:") { skipped++; print "SKIP " $3 ": " reason($3) >>skips }
	if ($2 == "FAIL:") { failed++; blame($3); bad = bad $0 "\n" words($3) }
	next
}
# What testscript logs after a skip is the script so far.
/^    [^ ]+[.]go:[0-9]+: / && $1 !~ /^testscript[.]go:/ { why[at] = $0 }
/^    / { said[at, ++lines[at]] = $0; if (dying) loose[++looseLines] = $0; next }

# The end of a package. A test binary that comes to its end says FAIL before, by
# itself.
/^(ok  |FAIL|[?]   )\t/ {
	if ($1 == "FAIL" && !ended) { bad = bad rest(); dead = 1 }
	if ($1 == "FAIL" && (failed == 0 || dead && !panicked)) { failed++; blame($2 (dead && at != "" ? " at " at : "")) }
	if ($1 == "FAIL" && bad == "") bad = rest()
	if ($1 != "?") line($2, $0)
	forget()
	next
}
/^FAIL$/ { ended = 1; next }
/^(PASS|exit status [0-9]+)$/ { next }

# What no test says: a package that dies, or a child of it.
/^panic: / && !/^panic: test timed out/ { panicked = 1 } # of a test that was called failed just before
!dying && /^(panic: |fatal error: |SIG[A-Z]+: |signal: )/ { dying = 1; looseLines = 0 }
{ loose[++looseLines] = $0 }

# isResult: a result is indented by four for each slash in its name at most, or
# it is the word of a test about another one.
function isResult(name, slashes) {
	if ($0 !~ /^(    )*--- (PASS|FAIL|SKIP): [^ ]+ \([0-9.]+s\)$/) return 0
	name = $3
	slashes = gsub("/", "", name)
	return match($0, /-/) - 1 <= 4 * slashes && (slashes == 0 || $0 ~ /^ /)
}

function reason(name, text) {
	text = why[name]
	sub(/^ *[^ ]*\.go:[0-9]+: /, "", text)
	sub(/^ *(SKIP:?)? */, "", text)
	return text == "" ? "no reason given" : text
}

# words: what a test said. The numbers are those of lines that one reads.
function words(name, i, text) {
	for (i = 1; i <= lines[name] && i <= 80; i++) text = text said[name, i] "\n"
	if (i <= lines[name]) text = text "\t... and " (lines[name] - i + 1) " more lines in " log_file "\n"
	return text
}

# rest: why a package died. Of the goroutines only the first.
function rest(i, text, shown, goroutines) {
	for (i = 1; i <= looseLines; i++) {
		if (loose[i] ~ /^goroutine [0-9]+ /) goroutines++
		if (goroutines > 1 || ++shown > 60) break
		text = text loose[i] "\n"
	}
	if (i <= looseLines) text = text "\t... and " (looseLines - i + 1) " more lines in " log_file "\n"
	if (at != "" && !panicked) text = text "\tlast heard of: " at "\n"
	return text
}

# blame: notes what failed. A test with such below it is named by those.
function blame(test) { names[++named] = test }
function naming(i, j, below) {
	for (i = 1; i <= named; i++) {
		below = 0
		for (j = 1; j <= named; j++) if (index(names[j], names[i] "/") == 1) below = 1
		if (!below) print names[i] (round == "tests" ? "" : " (" round ")") >>failures
	}
}

function line(package, verdict) {
	sub(/^.*\t/, "", verdict)
	if (index(verdict, package " ") == 1) verdict = substr(verdict, length(package) + 2)
	printf "%s", bad
	printf "%-26s %-27s %4d passed %4d failed %4d skipped  %s\n", round, package, passed, failed, skipped, verdict
	fflush()
	naming()
	passes += passed; fails += failed; skipping += skipped
}

function forget() {
	passed = failed = skipped = ended = dying = dead = panicked = looseLines = named = 0
	bad = at = ""
	split("", said); split("", lines); split("", loose); split("", why)
}

END {
	# go test itself may have died.
	if (looseLines + passed + failed + skipped > 0) {
		bad = bad rest()
		failed++
		blame("go test" (at == "" ? "" : " at " at))
		line("?", "no end")
	}
	if ((getline status <status_file) <= 0) status = 1
	if (status != 0 && fails == 0) {
		fails = 1
		blame("go test")
		naming()
		printf "%s: exit status %s, and nothing says why\n", round, status
	}
	print passes + 0, fails + 0, skipping + 0 >sums
}