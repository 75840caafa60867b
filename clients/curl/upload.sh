#!/bin/sh
# Upload a file to OSS with a URL from the function. Needs a POSIX shell with awk and head -c, and curl 7.55.
#
#     UPLOAD_ENDPOINT=https://... [UPLOAD_AUTHORIZATION='Bearer ...'] sh upload.sh FILE [TYPE]
#
# prints the object's key. Exit codes: 0 stored, 1 refused or failed (the reason is on stderr), 2 wrong usage.
#
# As a library: `UPLOAD_LIBRARY=1; . ./upload.sh`, then `put METHOD URL FILE 'Name: value'...` sends a file by an
# answer of the function, with its headers (metadata, storage class and whatever else the URL binds). It prints
# nothing when the file is stored; else it prints the reason and fails, with status 3 if the URL has expired.

main() {
    if [ $# -lt 1 ] || [ $# -gt 2 ] || [ -z "$1" ] || [ -z "${UPLOAD_ENDPOINT-}" ]; then
        echo "usage: upload FILE [TYPE], with the function's address in UPLOAD_ENDPOINT" >&2
        exit 2
    fi
    if said=$(upload "$UPLOAD_ENDPOINT" "$1" "${2-}" "${UPLOAD_AUTHORIZATION-}"); then
        printf '%s\n' "$said"
    else
        printf 'upload: %s\n' "$said" >&2
        exit 1
    fi
}

# upload ENDPOINT FILE [TYPE [AUTHORIZATION]]: stores the file and prints its key; else prints the reason and fails.
# An expired URL is asked for again once: uploads may have queued.
upload() (
    answer=$(ask "$@") || { printf '%s\n' "$answer"; exit 1; }
    said=$(put_by "$answer" "$2")
    status=$?
    if [ $status = 3 ]; then
        answer=$(ask "$@") || { printf '%s\n' "$answer"; exit 1; }
        said=$(put_by "$answer" "$2")
        status=$?
    fi
    [ $status = 0 ] && said=$(printf '%s\n' "$answer" | sed -n 's/^key=//p')
    printf '%s\n' "$said"
    exit $status
)

# ask ENDPOINT FILE [TYPE [AUTHORIZATION]]: prints the function's answer as lines: method=, url=, key= and, for each,
# header=Name: value.
ask() (
    size=$(size_of "$2") || { printf '%s\n' "$size"; exit 1; }
    is_http "$1" || exit 1
    case ${4-} in *[!\ -~]*) echo 'the authorization is not printable ASCII'; exit 1 ;; esac
    question=$(printf '{"filename":%s,"size":%s' "$(printf '%s' "${2##*/}" | json_string)" "$size")
    [ -z "${3-}" ] || question=$question$(printf ',"contentType":%s' "$(printf '%s' "$3" | json_string)")
    reply=$(
        # By standard input: others may list our arguments, and the authorization is a secret.
        {
            printf 'data-binary = %s\n' "$(quoted "$question}")"
            [ -z "${4-}" ] || printf 'header = %s\n' "$(quoted "Authorization: $4")"
        } | send --max-time 60 --header 'Content-Type: application/json' --url "$1" --config -
    )
    printf '%s\n' "$reply" | read_reply answer "$(host "$1")"
)

# put METHOD URL FILE [HEADER]...: sends the file: streamed, with its length, and with exactly these headers.
put() (
    method=$1 url=$2 file=$3
    shift 3
    size=$(size_of "$file") || { printf '%s\n' "$size"; exit 1; }
    is_http "$url" || exit 1
    case $method$url$* in *[[:cntrl:]]*) echo 'the URL or a header cannot be sent'; exit 1 ;; esac
    case $file in /*) ;; *) file=./$file ;; esac # curl takes "-" for its standard input
    if [ -t 2 ]; then errors=2 progress=--progress-bar; fi
    reply=$(
        # By standard input: others may list our arguments, and the URL is a secret.
        {
            printf 'request = %s\n' "$(quoted "$method")"
            printf 'url = %s\n' "$(quoted "$url")"
            for header; do printf 'header = %s\n' "$(quoted "$header")"; done
        } | send --speed-limit 1 --speed-time 300 --upload-file "$file" --config -
    )
    printf '%s\n' "$reply" | read_reply stored "$(host "$url")"
)

# put_by ANSWER FILE: puts what `ask` has printed.
put_by() (
    answer=$1 file=$2
    set --
    while IFS= read -r line; do
        case $line in
        method=*) method=${line#*=} ;;
        url=*) url=${line#*=} ;;
        header=*) set -- "$@" "${line#*=}" ;;
        esac
    done <<END
$answer
END
    put "$method" "$url" "$file" "$@"
)

size_of() (
    [ -e "$1" ] || { printf 'cannot read %s: no such file' "$1" | one_line; exit 1; }
    [ -f "$1" ] || { printf 'cannot read %s: not a file' "$1" | one_line; exit 1; }
    [ -r "$1" ] || { printf 'cannot read %s: permission denied' "$1" | one_line; exit 1; }
    echo $(($(wc -c <"$1")))
)

# send ARGUMENT...: one request; prints the status (0: no answer, and curl's reason) and, cut at 64 KB, the body.
# -q: a ~/.curlrc may hold anything. Redirects are answers: curl follows none unless told.
send() {
    curl -q --proto '=http,https' --globoff --path-as-is --connect-timeout 10 --include --suppress-connect-headers \
        --show-error "${progress:---silent}" "$@" 2>&"${errors:-1}" |
        head -c 65536 | tr -d '\000' | LC_ALL=C awk '
            body { print; next }
            !head && /^HTTP\// { head = 1; status = $2; next }
            head && /^\r?$/ { head = 0; if (status >= 200) { body = 1; print status }; next }
            head { next }
            { body = 1; print 0; sub(/^curl: \([0-9]*\) /, ""); print }'
}

# read_reply answer|stored HOST: what `send` printed, as an answer of the function or of OSS. Prints what `ask`
# promises, or nothing; else prints the reason and fails, with status 3 if the URL has expired.
# JSON is read here because a shell has nothing for it: all of its grammar that these answers can hold, escapes and
# surrogate pairs included. OSS's two XML elements are flat.
read_reply() {
    LC_ALL=C awk -v want="$1" -v host="$2" '
        function refuse(reason, status) {
            gsub(/\302[\200-\237]/, " ", reason) # whoever answered does not get to move the cursor
            gsub(/[[:cntrl:] ]+/, " ", reason)
            sub(/ $/, "", reason)
            print substr(reason, 1, 1000)
            exit status
        }
        function blanks() { sub(/^[ \t\r\n]+/, "", text) }
        function character(code) {
            if (code < 128) return sprintf("%c", code ? code : 1)
            if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
            if (code < 65536)
                return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
            return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64,
                128 + int(code / 64) % 64, 128 + code % 64)
        }
        function unit(at, i, code) { # the number of the \uXXXX at this place, or -1
            if (substr(text, at) !~ /^\\u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]/) return -1
            for (i = 2; i < 6; i++)
                code = code * 16 + index("0123456789abcdef", tolower(substr(text, at + i, 1))) - 1
            return code
        }
        function json_string(string, escape, code, low) { # takes a string from the text; sets bad if there is none
            text = substr(text, 2)
            while (match(text, /^[^"\\]+/) || text ~ /^\\./) {
                if (RLENGTH > 0) {
                    string = string substr(text, 1, RLENGTH)
                    text = substr(text, RLENGTH + 1)
                    continue
                }
                escape = substr(text, 2, 1)
                if (escape != "u") {
                    if (!index("\"\\/bfnrt", escape)) bad = 1
                    string = string substr("\"\\/\b\f\n\r\t", index("\"\\/bfnrt", escape), 1)
                    text = substr(text, 3)
                    continue
                }
                code = unit(1)
                if (code < 0) bad = 1
                low = unit(7)
                if (code >= 55296 && code < 56320 && low >= 56320 && low < 57344) {
                    code = 65536 + (code - 55296) * 1024 + low - 56320
                    text = substr(text, 7)
                } else if (code >= 55296 && code < 57344) code = 65533
                string = string character(code)
                text = substr(text, 7)
            }
            if (text !~ /^"/) bad = 1
            text = substr(text, 2)
            return string
        }
        function json(sign, string, depth, kind, name) { # fills value["a"] and value["a.b"] with strings; gives success
            if (text !~ /^[ \t\r\n]*[{]/) return 0
            for (blanks(); text != "" && !bad; blanks()) {
                sign = substr(text, 1, 1)
                if (sign == "\"") {
                    string = json_string()
                    blanks()
                    if (kind[depth] == "{" && text ~ /^:/) {
                        name[depth] = string
                        text = substr(text, 2)
                    } else if (depth == 1) value[name[1]] = string
                    else if (depth == 2 && kind[2] == "{") value[name[1] "." name[2]] = string
                    continue
                }
                if (match(text, /^[-+.0-9A-Za-z]+/)) {
                    text = substr(text, RLENGTH + 1)
                    if (depth == 2 && name[1] == "headers") headers = 0
                    continue
                }
                if (index("{[", sign)) {
                    headers = (depth == 1 && name[1] == "headers") ? sign == "{" : headers
                    kind[++depth] = sign
                }
                else if (index("}]", sign)) {
                    if (kind[depth] sign != "{}" && kind[depth] sign != "[]") bad = 1
                    if (--depth == 0) break
                } else if (sign != ",") bad = 1
                text = substr(text, 2)
            }
            text = substr(text, 2)
            blanks()
            return !bad && depth == 0 && text == ""
        }
        function element(name, found) {
            if (!match(all, "<" name ">[^<]*</" name ">")) return ""
            found = substr(all, RSTART + length(name) + 2, RLENGTH - 2 * length(name) - 5)
            gsub(/&lt;/, "<", found); gsub(/&gt;/, ">", found); gsub(/&quot;/, "\"", found)
            gsub(/&apos;/, "\047", found); gsub(/&amp;/, "\\&", found)
            return found
        }
        NR == 1 { status = $0; next }
        { text = text $0 "\n" }
        END {
            if (status == "") refuse("no answer from " host, 1) # in a terminal, where curl itself has told why
            all = text
            start = text ~ /[^ \t\r\n]/ ? substr(text, 1, 200) : "an empty answer"
            if (!(status > 0)) {
                sub(/\n.*/, "", all) # the rest is advice
                refuse("no answer from " host ": " all, 1)
            }
            if (status == 200 && want == "stored") exit 0
            understood = json()
            if (status == 200) {
                lines = "method=" value["method"] "\nurl=" value["url"] "\nkey=" value["key"]
                for (name in value) {
                    if ((name value[name]) ~ /[[:cntrl:]]|\302[\200-\237]/) understood = 0
                    if (name ~ /^headers\./ && value[name] == "") understood = 0
                    if (name ~ /^headers\./) lines = lines "\nheader=" substr(name, 9) ": " value[name]
                }
                if (!understood || !headers || value["method"] == "" || value["url"] == "" || value["key"] == "")
                    refuse(host " answered something else than an upload: " start, 1)
                print lines
                exit 0
            }
            if (understood) {
                # the names of the function, and those of Function Compute where it answers itself
                code = value["code"] value["errorType"] value["ErrorCode"]
                message = value["detail"] value["errorMessage"] value["ErrorMessage"]
                if (message == "") message = value["title"]
            } else {
                code = element("Code")
                message = element("Message")
                if (message == "") message = start
            }
            expired = status == 403 && (message ~ /has expired/ || element("EC") == "0002-00000236")
            refuse(status (code == "" ? "" : " " code) ": " message, expired ? 3 : 1)
        }'
}

# Standard input as a JSON string.
json_string() {
    LC_ALL=C awk -v ORS= '
        BEGIN {
            for (i = 1; i < 32; i++) written[sprintf("%c", i)] = sprintf("\\u%04x", i)
            written["\""] = "\\\""
            written["\\"] = "\\\\"
            print "\""
        }
        NR > 1 { print "\\n" }
        { for (i = 1; i <= length($0); i++) { sign = substr($0, i, 1); print (sign in written) ? written[sign] : sign } }
        END { print "\"" }'
}

# An argument as a string of curl's configuration.
quoted() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"; }

one_line() { tr -s '[:cntrl:]' ' '; echo; }

is_http() {
    case $1 in [Hh][Tt][Tt][Pp]://[!/]* | [Hh][Tt][Tt][Pp][Ss]://[!/]*) ;; *) echo 'the address is not http or https'; return 1 ;; esac
}

# What may be shown of an address: no user, no query.
host() { printf '%s\n' "$1" | sed -e 's,^[^/]*//,,' -e 's,[/?#].*,,' -e 's,.*@,,'; }

[ -n "${UPLOAD_LIBRARY-}" ] || main "$@"
