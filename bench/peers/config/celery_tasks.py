"""Tasks for Celery: the task, and a client that measures it. Its order is JSON on the command line, and so are its figures
on standard output; it begins to measure once the first task is done."""

import json
import os
import signal
import sys
import time
from collections import deque

from celery import Celery

address = os.environ["PEERS_REDIS"]
app = Celery("celery_tasks", broker=address, backend=address)
# As many results as are measured would stay for a day.
app.conf.update(result_expires=60, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)

PATIENCE_SECONDS = 20


@app.task
def echo(body):
    return body


def run_for(seconds, in_flight, size, first):
    """So many under way, awaited in turn. Gives the times of all that came back within the time, in seconds."""
    pending, times, number, end = deque(), [], first, time.perf_counter() + seconds
    while True:
        while len(pending) < in_flight and time.perf_counter() < end:
            body = f"{number:0{size}}"
            pending.append((body, time.perf_counter(), echo.delay(body)))
            number += 1
        if not pending:
            return times, number
        body, began, task = pending.popleft()
        result = task.get(timeout=PATIENCE_SECONDS)
        now = time.perf_counter()
        if result != body:
            sys.exit(f"task {body} gave {result}: results are mixed up")
        if now <= end:
            times.append(now - began)


def main():
    order = json.loads(sys.argv[1])
    echo.delay("first").get(timeout=PATIENCE_SECONDS)
    _, number = run_for(order["warm_seconds"], order["in_flight"], order["size"], 0)
    print("measuring", flush=True)
    times, _ = run_for(order["seconds"], order["in_flight"], order["size"], number)
    print(json.dumps(times), flush=True)
    # Until it is asked to end: its processor time is read meanwhile.
    signal.pause()


if __name__ == "__main__":
    main()
