"`nbs/tutorials/service.py` under uvicorn with four workers: texts a second and latency, from eight clients"
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
import numpy as np
ROOT = Path(__file__).parents[1]


def main(model, n=2000, clients=8, port=8137):
    env = {**os.environ, 'MODEL':str(Path(model).resolve())}
    tutorials = ROOT/'nbs'/'tutorials'
    server = subprocess.Popen([sys.executable, '-W', 'ignore', '-m', 'uvicorn', 'service:app', '--workers', '4', '--port', str(port), '--log-level', 'error'], cwd=tutorials, env=env)
    words = (tutorials/'service.py').read_text().split()
    rng, times, lock = np.random.default_rng(0), [], threading.Lock()
    bodies = [json.dumps(dict(texts=[' '.join(rng.choice(words, 40))])).encode() for _ in range(n)]
    def ask(path, body=None):
        req = urllib.request.Request(f'http://127.0.0.1:{port}/{path}', body, {'Content-Type':'application/json'})
        return json.load(urllib.request.urlopen(req, timeout=60))
    def work(mine):
        for b in mine:
            start = time.perf_counter()
            ask('predict', b)
            with lock: times.append(time.perf_counter()-start)
    try:
        for _ in range(240):
            try: ask('health'); break
            except OSError: time.sleep(.5)
        for b in bodies[:100]: ask('predict', b)
        start = time.perf_counter()
        threads = [threading.Thread(target=work, args=(bodies[i::clients],)) for i in range(clients)]
        for t in threads: t.start()
        for t in threads: t.join()
        seconds = time.perf_counter()-start
    finally:
        server.terminate()
        server.wait()
    p50, p95 = 1000*np.quantile(times, [.5, .95])
    row = [{'workers':4, 'clients':clients, 'texts':n, 'texts a second':round(n/seconds, 1), 'p50, ms':round(float(p50), 1), 'p95, ms':round(float(p95), 1)}]
    (Path(__file__).parent/'results'/'service.json').write_text(json.dumps(row, indent=1)+'\n')
    print(row)


if __name__=='__main__': main(sys.argv[1])
