import os
import numpy as np
import pandas as pd
import pytest
import torch

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    "Every test has a cache folder of its own"
    monkeypatch.setenv('ULMFIT_CACHE', str(tmp_path_factory.mktemp('cache')))


def notes(n, seed=0):
    "Short documents of two classes that a small model can tell apart"
    rng = np.random.default_rng(seed)
    def note():
        sea = rng.random()<.5
        who, where = (('sailor','captain','fisher'), ('boat','pier','reef')) if sea else (('driver','porter','miller'), ('cart','road','barn'))
        return f"the {rng.choice(who)} {rng.choice(['saw','left','found'])} the {rng.choice(where)} {rng.choice(['today','at noon','early'])}", 'sea' if sea else 'land'
    return pd.DataFrame([note() for _ in range(n)], columns=['text','label'])


@pytest.fixture
def df(): return notes(80)


TINY = dict(emb_sz=16, n_hid=24, n_layers=3)


@pytest.fixture
def data_folder():
    "The folder of real corpora, where there is one"
    folder = os.environ.get('ULMFIT_DATA')
    if not folder or not os.path.isdir(folder): pytest.skip('no real corpora here: set ULMFIT_DATA to their folder')
    return folder
