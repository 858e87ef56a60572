"""The tasks of suite, grid and rivals: labelled documents to draw from, and test documents that nobody trains on"""
import json
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parents[1]/'benchmarks'))
from common import data
import pandas as pd
from sklearn.model_selection import train_test_split

TASKS = ('sst2', 'mr', 'trec6', 'news20', 'imdb')


def _read(task, part):
    if task in ('imdb', 'news20'): df = pd.read_json(data()/f'{task}-{part}.jsonl.xz', lines=True)[['text', 'label']]
    elif task=='mr': # has no official parts: every tenth sentence is for tests
        df = pd.read_csv(data()/'mr.csv')
        df = df[(df.index%10==0)==(part=='test')]
    else: df = pd.read_csv(data()/f'{task}-{part}.csv')
    return df.astype(dict(label=str))


def training_part(task):
    "All labelled documents that may be drawn"
    return _read(task, 'train')


def test_part(task):
    "Test documents; of IMDb 5,000 of 25,000"
    df = _read(task, 'test')
    return df.sample(5000, random_state=0) if task=='imdb' else df


def few_labels(task, n, seed):
    "`n` labelled documents, drawn by class; 0 is all"
    df = training_part(task)
    return (train_test_split(df, train_size=n, random_state=seed, stratify=df.label)[0] if n else df).reset_index(drop=True)


def draw(task, n, seed, most=2000):
    "`n` labelled documents, and others to measure on, which are not of the test part"
    df = training_part(task)
    few, rest = train_test_split(df, train_size=n, random_state=seed, stratify=df.label)
    return few.reset_index(drop=True), rest.sample(min(most, len(rest)), random_state=0)


def measure(cell, log, jobs):
    "Append what `cell` returns for each TASK:LABELS:SEED to the file `log`, but for those that are there"
    done = {tuple(json.loads(l)['cell']) for l in log.read_text().splitlines()} if log.exists() else set()
    for job in jobs:
        task, n, seed = job.split(':')
        if (key := (task, int(n), int(seed))) in done: continue
        row = dict(cell=key, **cell(*key))
        print(row, flush=True)
        with open(log, 'a') as f: f.write(json.dumps(row)+'\n')
