#!/usr/bin/env bash
# Logs in by a command-line client, MySQL's or MariaDB's, whichever is called `CLIENT`; the arguments and the line
# printed for each login are those of logins.py. MariaDB's asks for the server's public key whenever it needs one.
set -euo pipefail
client=${CLIENT:?mysql or mariadb}

case $("$client" --version) in
    *MariaDB*) tls=(--skip-ssl --ssl) key=() ;;
    *)         tls=(--ssl-mode=DISABLED --ssl-mode=REQUIRED) key=(--get-server-public-key) ;;
esac

# json TEXT: as a string of JSON, of one line.
json() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\t'/ }
    printf '"%s"' "${text//$'\n'/ }"
}

login() {
    local host=$1 port=$2 user=$3 password=$4 database=$5 table="written_by_$3" options output status=0
    # The password as an option: given in another way MariaDB's client believes that there is none, and then does not
    # look at the server's certificate either.
    options=(--no-defaults --protocol=tcp --host="$host" --port="$port" --user="$user" --password="$password"
             --connect-timeout=10 --skip-column-names --batch)
    [ "$6" = tls=yes ] && options+=("${tls[1]}") || options+=("${tls[0]}")
    [ "$7" = key-retrieval=no ] || options+=(${key[@]+"${key[@]}"})
    output=$("$client" "${options[@]}" "$database" 2>&1 <<SQL
SELECT CONCAT('version=', VERSION());
CREATE TABLE IF NOT EXISTS $table (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(20));
INSERT INTO $table (word) VALUES ('it''s');
SELECT CONCAT('rows=', GROUP_CONCAT(CONCAT(id, ':', word) ORDER BY id)) FROM seeds;
SQL
    ) || status=$?
    if [ "$status" -eq 0 ]; then
        printf '{"ok":true,"version":%s,"rows":%s}\n' "$(json "$(sed -n 's/^version=//p' <<<"$output")")" \
            "$(json "$(sed -n 's/^rows=//p' <<<"$output")")"
    else
        # Without the warnings about passwords.
        output=$(grep -E '^ERROR ' <<<"$output" || printf '%s' "$output")
        printf '{"ok":false,"code":%s,"message":%s}\n' \
            "$(sed -n 's/^ERROR \([0-9]*\).*/\1/p;T;q' <<<"$output" | grep . || echo 0)" "$(json "$output")"
    fi
}

while [ $# -gt 0 ]; do
    login "${@:1:7}"
    shift 7
done
