#!/bin/sh
# The exec hook of the scripts. It notes USER PIN REQUEST_ID of each request in
# asked, and ends with the code that stands in say/USER or say/all, else with 0.
# A file stay/USER makes it wait until that is gone.
cd "${0%/*}" || exit 1
req=$(cat)
field() { printf '%s' "$req" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
user=$(field user_id)
if [ -n "$user" ]; then echo "$user $(field pin) $(field request_id)" >>asked; fi
while [ -n "$user" ] && [ -e "stay/$user" ]; do sleep 0.05; done
for f in "say/$user" say/all; do
	if [ -f "$f" ]; then exit "$(cat "$f")"; fi
done
