# Runs the host's tool of the name under which this script is called, confined to the device's disk.
# Absolute paths are the device's; paths that lead out of the disk are reported as missing.
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
  # The last name is not resolved, because rm and ls work on a link itself.
  folder=$(/usr/bin/realpath -mq -- "$(/usr/bin/dirname -- "$word")/.")
  case $folder in
    "$root" | "$root"/*) ;;
    *) echo "$name: $word: No such file or directory" >&2; exit 1 ;;
  esac
  if [ "$writes" ] && { [ "$name" != cp ] && [ "$name" != ln ] || [ "$left" -eq 0 ]; }; then
    case $folder/${word##*/} in
      "$root"/data/local/tmp* | "$root"/storage/emulated/0*) ;;
      *)
        # A word without a slash may be something other than a path, such as chmod's mode.
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
