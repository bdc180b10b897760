#!/usr/bin/env bash
# Run a flow of Packmaster through the Prefect API, with nothing but curl and jq; wait for its end.
#
#   export PREFECT_API_URL=http://127.0.0.1:4200/api PREFECT_API_AUTH_STRING=admin:password
#   run_flow.sh create-platform '{"platform": "shop", "source": "/srv/shop",
#       "target": {"$ref": {"block_document_slug": "packmaster-cluster/web"}}}' [idempotency key]
#
# Blocks are named, never sent. With the same key, asking again gives the same run. Exit status 0 when it completed.
set -euo pipefail
flow=$1 parameters=$2 key=${3:-$(cat /proc/sys/kernel/random/uuid)}
client=$(cat /proc/sys/kernel/random/uuid) token=""
follow_seconds=${FOLLOW_SECONDS:-7200}

# Prints the answer's body; one that is no success has its status before it, and exit status 1. A server that is
# busy (503) or restarting (000) is asked again for a minute: with its key, a request can be repeated.
ask() { # method, path, body
    local answer status ends=$((SECONDS + 60))
    while :; do
        # The login is read from standard input: what is in an argument, every user of the machine can see.
        answer=$(curl --silent --max-time 60 --write-out '\n%{http_code}' --config - -X "$1" "$PREFECT_API_URL$2" \
            -H 'Content-Type: application/json' -H "Prefect-Csrf-Client: $client" -H "Prefect-Csrf-Token: $token" \
            ${3:+--data "$3"} <<<"${PREFECT_API_AUTH_STRING:+user = \"$PREFECT_API_AUTH_STRING\"}") || :
        status=${answer##*$'\n'}
        case $status in 2*) break ;; 000 | 503) ((SECONDS > ends)) || { sleep 1 && continue; } ;; esac
        echo "$status ${answer%$'\n'*}"
        return 1
    done
    echo "${answer%$'\n'*}"
}

refuse() {
    echo "refused: $1" >&2
    exit 1
}

# A server without CSRF protection answers 422, and asks for no token.
answer=$(ask GET "/csrf-token?client=$client") && token=$(jq -r .token <<<"$answer") ||
    [[ $answer == 422* ]] || refuse "$answer"

deployment=$(ask GET "/deployments/name/$flow/$flow") || refuse "$deployment"
wanted=$(jq -n --argjson parameters "$parameters" --arg key "$key" '{parameters: $parameters, idempotency_key: $key}')
run=$(ask POST "/deployments/$(jq -r .id <<<"$deployment")/create_flow_run" "$wanted") || refuse "$run"
id=$(jq -r .id <<<"$run")
echo "run $id"

while :; do
    run=$(ask GET "/flow_runs/$id") || refuse "$run"
    state=$(jq -c .state <<<"$run")
    [[ $(jq -r .type <<<"$state") =~ ^(COMPLETED|FAILED|CRASHED|CANCELLED)$ ]] && break
    ((SECONDS < follow_seconds)) || refuse "the run did not end within $follow_seconds s"
    sleep 1
done
jq -r '"\(.name): \(.message)"' <<<"$state"

# What it planned and what it did, as tables.
tables=$(ask POST /artifacts/filter \
    "{\"artifacts\": {\"flow_run_id\": {\"any_\": [\"$id\"]}, \"type\": {\"any_\": [\"table\"]}}}") || refuse "$tables"
jq -r '.[] | .key as $key | .data | fromjson[] | [$key, .[]] | @tsv' <<<"$tables"
[ "$(jq -r .type <<<"$state")" = COMPLETED ]
