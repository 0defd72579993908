"""Stands in for `mm_face_stylizer.studio.tuner`: says the same, and learns nothing.

The environment's STAND_IN says what happens: `finish`, `wait` for a stop, `refuse`, `crash`, or
`hang` before the first step. STAND_IN_BUNDLE is the bundle that comes of it.
"""

import json
import os
import pathlib
import shutil
import sys
import threading
import time


def say(**values):
    print(json.dumps(values), flush=True)


job = json.loads(pathlib.Path(sys.argv[1]).read_text())
folder = pathlib.Path(sys.argv[1]).parent
mode = os.environ["STAND_IN"]
stop = threading.Event()


def listen():
    if sys.stdin.readline().strip() == "stop":
        stop.set()
        sys.stdin.readline()
    os._exit(1)


threading.Thread(target=listen, daemon=True).start()
print("a library's own line")
print("[1, 2]", flush=True)
say(stage="Loading the networks")
if mode == "refuse":
    say(error="ink.png is no use")
    os._exit(1)
if mode == "crash":
    sys.stderr.write("Traceback\nMemoryError: too big\n")
    sys.stderr.flush()
    os._exit(3)
if mode == "hang":
    time.sleep(60)
step = 0
while step < job["steps"] or mode == "wait":
    step += 1
    time.sleep(0.02)
    say(stage="Learning", step=min(step, job["steps"] - (mode == "wait")))
    if step == 1:
        shutil.copyfile(job["photo"], folder / "preview.png")
        say(preview=1)
    if stop.is_set():
        break
shutil.copyfile(os.environ["STAND_IN_BUNDLE"], folder / "face_stylizer.task")
say(finished=True)
sys.stdout.flush()
os._exit(0)
