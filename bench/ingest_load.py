"""The senders of bench/ingest.cc as a process beside the measured one, and what came of their records."""
import json
import os
import signal
import subprocess

FOLDER = os.path.dirname(os.environ.get("OUTLAST_BINARY", "build/release/outlast"))


class Load:
    """A sender for each of `targets` ("udp:5140", "tcp:…", "octets:…", "http:…"), `rate` records a second together; 0: as
    many as go."""

    def __init__(self, targets, rate, seconds):
        self.patience = seconds + 60
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", f"{FOLDER}/ingest_bench", "send", str(seconds),
                                         str(rate), *targets], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.result()

    def result(self):
        out, _ = self.process.communicate(timeout=self.patience)
        return json.loads(out)


def count(path, sent):
    """Of the records in a file: how many are lost, duplicated, out of order, and the longest gap where it says times."""
    done = subprocess.run([f"{FOLDER}/ingest_count_bench", path, *map(str, sent["each"])], stdout=subprocess.PIPE, text=True,
                          check=True)
    return json.loads(done.stdout)
