#!/usr/bin/env bash
# Run a flow of Packmaster through the Prefect API, with nothing but curl and jq; wait for its end.
#
#   export PREFECT_API_URL=http://127.0.0.1:4200/api PREFECT_API_AUTH_STRING=admin:password
#   run_flow.sh create-platform '{"platform": "blog", "source": "/srv/blog",
#       "target": {"$ref": {"block_document_slug": "packmaster-cluster/web"}}}' [idempotency key]
#
# Blocks are named, never sent. With the same key, asking again gives the same run. Exit status 0 when it completed.
set -euo pipefail
flow=$1 parameters=$2 key=${3:-$(cat /proc/sys/kernel/random/uuid)}
client=$(cat /proc/sys/kernel/random/uuid) token=""

ask() { # method, path, body
    # The login is read from standard input: what is in an argument, every user of the machine can see.
    curl --silent --show-error --fail-with-body --max-time 60 --config - -X "$1" "$PREFECT_API_URL$2" \
        -H 'Content-Type: application/json' -H "Prefect-Csrf-Client: $client" -H "Prefect-Csrf-Token: $token" \
        ${3:+--data "$3"} <<<"${PREFECT_API_AUTH_STRING:+user = \"$PREFECT_API_AUTH_STRING\"}"
}

# A server without CSRF protection answers 422, and asks for no token.
token=$(ask GET "/csrf-token?client=$client" 2>/dev/null | jq -r '.token // empty') || token=""

deployment=$(ask GET "/deployments/name/$flow/$flow" | jq -r .id)
wanted=$(jq -n --argjson parameters "$parameters" --arg key "$key" '{parameters: $parameters, idempotency_key: $key}')
run=$(ask POST "/deployments/$deployment/create_flow_run" "$wanted") || { echo "refused: $run" >&2; exit 1; }
id=$(jq -r .id <<<"$run")
echo "run $id"

while state=$(ask GET "/flow_runs/$id" | jq -c .state); do
    case $(jq -r .type <<<"$state") in COMPLETED | FAILED | CRASHED | CANCELLED) break ;; esac
    sleep 1
done
jq -r '"\(.name): \(.message)"' <<<"$state"

# What it planned and what it did, as tables.
ask POST /artifacts/filter "{\"artifacts\": {\"flow_run_id\": {\"any_\": [\"$id\"]}, \"type\": {\"any_\": [\"table\"]}}}" |
    jq -r '.[] | "\(.key)\t" + (.data | fromjson[] | [.[]] | join(" | "))'
[ "$(jq -r .type <<<"$state")" = COMPLETED ]
