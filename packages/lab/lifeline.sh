#!/bin/sh
# lifeline.sh FOLDER COMMAND...: becomes COMMAND, which ends when the lab does.
# The lab holds FOLDER/lifeline, a named pipe, open for writing. However the lab
# dies, SIGKILL included, the pipe closes; the watcher below then kills COMMAND
# and removes FOLDER, its data. It stays out of COMMAND's way otherwise: exec
# keeps the process id, and so does everything that COMMAND tells about itself.
folder=$1
shift
(
  read -r _ <"$folder/lifeline"
  kill -KILL $$ 2>/dev/null
  # A dying broker may still be writing.
  for _ in 1 2 3 4 5; do
    rm -rf "$folder" 2>/dev/null && break
    sleep 1
  done
) &
exec "$@"
