# A tool of the host, let loose on the device's disk only: called as the device's tool of that name.
# Absolute paths mean the device's; a path that leads out of the disk does not exist.
name=${0##*/}
root=$ADB_DEVICE_ROOT
case $name in
  chmod | cp | ln | mkdir | mv | rm | rmdir | tee | touch | truncate) writes=yes ;;
  *) writes= ;;
esac
left=$#
while [ "$left" -gt 0 ]; do
  word=$1
  shift
  left=$((left - 1))
  case $word in
    -*) set -- "$@" "$word"; continue ;;
    "$root" | "$root"/* | /dev/*) ;;
    /*) word=$root$word ;;
  esac
  case $word in
    /dev/*) set -- "$@" "$word"; continue ;;
  esac
  # The last name may be a link: rm removes it, and ls shows it.
  folder=$(/usr/bin/realpath -mq -- "$(/usr/bin/dirname -- "$word")/.")
  case $folder in
    "$root" | "$root"/*) ;;
    *) echo "$name: $word: No such file or directory" >&2; exit 1 ;;
  esac
  if [ "$writes" ] && { [ "$name" != cp ] && [ "$name" != ln ] || [ "$left" -eq 0 ]; }; then
    case $folder/${word##*/} in
      "$root"/data/local/tmp* | "$root"/storage/emulated/0*) ;;
      *)
        # A bare word may be a mode, as chmod's is.
        case $word in
          */*)
            echo "$name: ${word#"$root"}: Permission denied" >&2
            exit 1
            ;;
        esac
        ;;
    esac
  fi
  set -- "$@" "$word"
done
for folder in /usr/bin /bin; do
  [ -x "$folder/$name" ] && exec "$folder/$name" "$@"
done
echo "$name: inaccessible or not found" >&2
exit 127
