"The web service of the tutorial: four workers, one of which is killed"
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pytest
from conftest import TINY
from ulmfit_ext.data.samples import notes
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.infer.predict import load_predictor

pytest.importorskip('fastapi')
pytest.importorskip('uvicorn')


@pytest.fixture(scope='module')
def service(tmp_path_factory):
    os.environ['ULMFIT_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    run = tmp_path_factory.mktemp('service')/'run'
    ulmfit(notes(100), run_dir=run, pretrained=None, lm_kwargs=dict(epochs=1, config=TINY), clas_kwargs=dict(epochs=1), valid_pct=.3, progress=False)
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    folder = Path(__file__).parents[1]/'nbs'/'tutorials'
    server = subprocess.Popen([sys.executable, '-W', 'ignore', '-m', 'uvicorn', 'service:app', '--workers', '4', '--port', str(port), '--log-level', 'error'],
                              cwd=folder, env={**os.environ, 'MODEL':str(run)})
    def ask(path, data=None, tries=40):
        req = urllib.request.Request(f'http://127.0.0.1:{port}/{path}', data and json.dumps(data).encode(), {'Content-Type':'application/json'})
        for i in range(tries):
            try: return json.load(urllib.request.urlopen(req, timeout=60))
            except urllib.error.HTTPError: raise
            except OSError: time.sleep(.5) # a worker that starts, or was killed
    ask('health', tries=240)
    yield ask, load_predictor(run)
    server.terminate()
    server.wait(30)


def test_all_requests_are_answered_though_a_worker_dies(service):
    ask, pred = service
    texts = notes(200, seed=2).text.tolist()
    want = [pred.top(t, 1)[0][0] for t in texts]
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda t: ask('predict', dict(texts=[t]))[0]['label'], texts[:100]))
        pids = Counter()
        for _ in range(20): # beside work, since one idle worker may take all that is quick
            busy = [pool.submit(ask, 'predict', dict(texts=texts[:64])) for _ in range(4)]
            pids.update(o['pid'] for o in pool.map(lambda i: ask('health'), range(60)))
            for b in busy: b.result()
            if len(pids)>1: break
        os.kill(pids.most_common(1)[0][0], signal.SIGKILL)
        rest = list(pool.map(lambda t: ask('predict', dict(texts=[t]))[0]['label'], texts[100:]))
    assert first+rest==want and len(pids)>1


def test_what_is_too_long_or_empty_is_refused(service):
    ask, _ = service
    for texts in ([''], ['a'*50_001], ['a']*65, 'a'):
        with pytest.raises(urllib.error.HTTPError) as e: ask('predict', dict(texts=texts))
        assert e.value.code==422
