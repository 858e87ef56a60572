"Upload to and download from a Hub of our own on the loopback"
import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import numpy as np
import pytest
from ulmfit_ext.data.samples import notes
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.infer.predict import load_predictor
from conftest import TINY

pytest.importorskip('huggingface_hub')


class Hub(BaseHTTPRequestHandler):
    "The few routes that an upload and a download take; files by repository"
    repos, sha = {}, 'a'*40
    def log_message(self, *args): pass
    @property
    def at(self): return f'http://{self.headers["Host"]}'
    def send(self, data, status=200, **headers):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for k, v in {'Content-Length':len(data), 'Content-Type':'application/json', **{k.replace('_', '-'):v for k, v in headers.items()}}.items(): self.send_header(k, str(v))
        self.end_headers()
        if self.command!='HEAD': self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        path = self.path.strip('/').split('/')
        if self.path=='/api/repos/create': self.repos.setdefault(f'me/{json.loads(body)["name"]}', {})
        if self.path=='/api/repos/create': return self.send(dict(url=f'{self.at}/me/{json.loads(body)["name"]}', id='me/model'))
        if self.path=='/api/validate-yaml': return self.send(dict(errors=[], warnings=[]))
        repo = self.repos.setdefault('/'.join(path[2:4]), {})
        if path[4]=='preupload':
            return self.send(dict(files=[dict(path=f['path'], uploadMode='regular', shouldIgnore=False) for f in json.loads(body)['files']]))
        for line in map(json.loads, body.splitlines()):
            if line['key']=='file': repo[line['value']['path']] = base64.b64decode(line['value']['content'])
            if line['key']=='deletedFile': del repo[line['value']['path']]
        self.send(dict(commitUrl=f'{self.at}/{"/".join(path[2:4])}/commit/{self.sha}', commitOid=self.sha, success=True))

    def do_GET(self):
        path = self.path.split('?')[0].strip('/').split('/')
        if path[0]=='api':
            files = self.repos.get('/'.join(path[2:4]))
            if files is None: return self.send(dict(error='Repository not found'), 404, X_Error_Code='RepoNotFound')
            if path[4]=='tree': return self.send([dict(type='file', path=f, size=len(d), oid=hashlib.sha1(d).hexdigest()) for f, d in files.items()])
            return self.send(dict(id='me/model', sha=self.sha, siblings=[dict(rfilename=f) for f in files]))
        data = self.repos['/'.join(path[:2])].get('/'.join(path[4:]))
        if data is None: return self.send(b'', 404, X_Error_Code='EntryNotFound')
        self.send(data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=self.sha, Content_Type='application/octet-stream')
    do_HEAD = do_GET


@pytest.fixture(scope='module')
def hub():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    os.environ['ULMFIT_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    kw = dict(pretrained=None, lm_kwargs=dict(epochs=1, config=TINY), clas_kwargs=dict(epochs=1), valid_pct=.3, progress=False)
    folder = tmp_path_factory.mktemp('hub')/'run'
    ulmfit(notes(200), run_dir=folder, **kw)
    return folder


def python(hub, home, code):
    env = {**os.environ, 'HF_ENDPOINT':hub, 'HF_HOME':str(home), 'HF_TOKEN':'hf_x', 'HF_HUB_DISABLE_TELEMETRY':'1'}
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope='module')
def uploaded(hub, run, tmp_path_factory):
    return python(hub, tmp_path_factory.mktemp('home'), f"from ulmfit_ext.infer.hub import push_bundle; print(push_bundle({str(run)!r}, 'me/model', notes='Notes of ships.'))")


def test_there_and_back(hub, run, uploaded, tmp_path):
    res = uploaded
    assert res.returncode==0 and f'{hub}/me/model/commit/' in res.stdout, res.stderr[-2000:]
    files = Hub.repos['me/model']
    assert set(files)=={'README.md', 'calibration.json', *(f'{d}/{f}' for d in ('fwd', 'bwd') for f in ('config.json', 'vocab.json', 'model.safetensors'))}
    assert b'Notes of ships.' in files['README.md'] and b'language: en' in files['README.md']
    ask = "from ulmfit_ext.infer.hub import from_hub; print(from_hub('me/model').predict_proba(['a boat', 'a cow']).tolist())"
    res = python(hub, tmp_path, ask)
    assert res.returncode==0, res.stderr[-2000:]
    want = load_predictor(run).predict_proba(['a boat', 'a cow'])
    np.testing.assert_allclose(json.loads(res.stdout), want, rtol=1e-6)


def test_a_smaller_model_replaces_a_pair(hub, run, tmp_path):
    "else the old backward model would answer beside the new forward one"
    push = "from ulmfit_ext.infer.hub import push_bundle; push_bundle({!r}, 'me/smaller')"
    assert python(hub, tmp_path, push.format(str(run))).returncode==0
    Hub.repos['me/smaller']['notes.txt'] = b'mine' # is none of ours
    res = python(hub, tmp_path, push.format(str(run/'model'/'fwd')))
    assert res.returncode==0, res.stderr[-2000:]
    assert set(Hub.repos['me/smaller'])=={'README.md', 'notes.txt', 'config.json', 'vocab.json', 'model.safetensors'}


def test_a_forged_model_is_refused(hub, uploaded, tmp_path):
    files = dict(Hub.repos['me/model'])
    Hub.repos['me/forged'] = {**files, 'fwd/model.safetensors':files['fwd/model.safetensors'][:-1]+b'x', '../evil':b'x'}
    res = python(hub, tmp_path, "from ulmfit_ext.infer.hub import from_hub; from_hub('me/forged')")
    assert res.returncode==1 and 'sha256' in res.stderr.splitlines()[-1] and not (tmp_path/'evil').exists()


def test_a_model_that_is_not_there(hub, tmp_path):
    res = python(hub, tmp_path, "from ulmfit_ext.infer.hub import from_hub; from_hub('me/none')")
    assert res.returncode==1 and 'me/none' in res.stderr
