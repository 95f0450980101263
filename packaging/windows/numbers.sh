#!/bin/sh
# Prints the four numbers that Windows wants of a version: of 1.2.3 or 1.2.3+4.gabcdef,
# which is four commits later, 1.2.3.0 or 1.2.3.4. Before the first tag the commits are
# the third, since an MSI compares no more than three.
set -eu
IFS=. read -r major minor patch <<V
${1%%[+~]*}
V
commits=0
case $1 in *+*) commits=${1#*+} commits=${commits%%.*} ;; esac
case $commits in '' | *[!0-9]*) commits=0 ;; esac
[ "$major.$minor.$patch" != 0.0.0 ] || { patch=$commits commits=0; }
echo "${major:-0}.${minor:-0}.${patch:-0}.$commits"
