#!/bin/sh
# lifeline.sh FOLDER COMMAND...: becomes COMMAND, which ends when the lab does.
# Standard input is a pipe that the lab holds open at its other end. However the
# lab dies, SIGKILL included, the pipe closes; the watcher below then kills
# COMMAND and removes FOLDER, its data. It stays out of COMMAND's way otherwise:
# exec keeps the process id.
folder=$1
shift
exec 3<&0 </dev/null
(
  read -r _ <&3
  kill -KILL $$ 2>/dev/null
  # A dying broker may still be writing.
  for _ in 1 2 3 4 5; do
    rm -rf "$folder" 2>/dev/null && break
    sleep 1
  done
) &
exec 3<&- "$@"
