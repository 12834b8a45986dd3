#!/bin/sh
# lifeline-end.sh FOLDER COMMAND...: runs COMMAND when the lab has ended, for what
# isn't a child of the lab and so can't be killed with it: containers. Standard
# input is the same pipe as in lifeline.sh.
folder=$1
shift
trap '' HUP INT TERM
read -r _
# More than once: what was being created at this moment may come to be after the
# first time, and a network only goes when the last container has left it.
for _ in 1 2 3; do
  "$@"
  sleep 2
done
rm -rf "$folder"
