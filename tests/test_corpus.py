import errno
import json
import os
import subprocess
import sys
import warnings
import numpy as np
import pandas as pd
import pytest
from fastcore.all import L
from hypothesis import given, settings, strategies as st
from ulmfit_ext.data import corpus as module, loaders # which gives a corpus its DataLoaders
from ulmfit_ext.data.tables import check_labels, read_table
from ulmfit_ext.data.corpus import TextCorpus, _make_vocab
from ulmfit_ext.data.samples import notes
from ulmfit_ext.data.tokenize import tokenize


def folder(cache): return next(p for p in cache.iterdir() if not p.name.startswith('building-'))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('ULMFIT_CACHE', str(tmp_path/'cache'))
    return tmp_path/'cache'


def tokens(c): return [c.tokens(i) for i in range(len(c))]


@pytest.mark.parametrize('name,harm', [
    ('ids.bin', lambda b: b[:-2]), ('ids.bin', lambda b: b[:40]+bytes([b[40]^1])+b[41:]), ('offsets.npy', lambda b: b[:-1]),
    ('words.json', lambda b: b'[]'), ('meta.json', lambda b: b'{'), ('meta.json', lambda b: b'[1]'), ('meta.json', None), ('ids.bin', None)])
def test_a_damaged_cache_is_built_again_and_said_so(cache, df, name, harm):
    good = tokens(TextCorpus.from_df(df))
    f = folder(cache)/name
    f.unlink() if harm is None else f.write_bytes(harm(f.read_bytes()))
    with pytest.warns(UserWarning, match='damaged: building it again'): assert tokens(TextCorpus.from_df(df))==good
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='the cache')
        assert tokens(TextCorpus.from_df(df))==good


@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'No space left on device'), OSError(errno.EIO, 'I/O error'), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_nothing(cache, df, monkeypatch, error):
    def save(*args, **kw): raise error
    monkeypatch.setattr(module.np, 'save', save)
    with pytest.raises(type(error), match='no room in|I/O error|^$'): TextCorpus.from_df(df)
    assert not list(cache.iterdir())


@pytest.mark.parametrize('method,n', [('fork', 99), ('spawn', 1), ('forkserver', 1)])
def test_processes_start_by_themselves_where_that_is_safe(monkeypatch, method, n):
    "Elsewhere each would run an unguarded script once more"
    class Begun(Exception): pass
    def build(texts, settings, folder, n_workers): raise Begun(n_workers)
    for name, value in dict(_build=build, get_start_method=lambda: method, num_cpus=lambda: 99).items(): monkeypatch.setattr(module, name, value)
    with pytest.raises(Begun) as e: TextCorpus.from_df(pd.DataFrame(dict(text=['a boat '*400_000, 'a train '*400_000])), valid_pct=.5)
    assert e.value.args==(n,)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs a disk that is always full')
def test_a_full_disk(cache, df, monkeypatch):
    real = open
    monkeypatch.setattr(module, 'open', lambda p, m='r', **kw: real('/dev/full' if str(p).endswith('ids.bin') and 'w' in m else p, m, **kw), raising=False)
    with pytest.raises(OSError, match='no room in .* make some'): TextCorpus.from_df(df)
    assert not list(cache.iterdir())


def test_a_killed_build_does_not_look_whole(tmp_path, df):
    df.to_csv(tmp_path/'a.csv', index=False)
    code = ("import os, sys; from ulmfit_ext.data import corpus as m, tables; m.np.save = lambda *a: os.kill(os.getpid(), 9); "
            "m.TextCorpus.from_df(tables.read_table(sys.argv[1]))")
    assert subprocess.run([sys.executable, '-W', 'ignore', '-c', code, tmp_path/'a.csv']).returncode==-9
    assert all(p.name.startswith('building-') or p.suffix=='.lock' for p in (tmp_path/'cache').iterdir())
    assert tokens(TextCorpus.from_df(read_table(tmp_path/'a.csv')))==tokens(TextCorpus.from_df(df))


def test_ids_take_two_bytes_or_four(tmp_path):
    few = TextCorpus.from_df(notes(40))
    assert few.raw.dtype==np.uint16
    word = lambda n: 'q'+''.join(chr(97+int(d)) for d in str(n))
    many = pd.DataFrame(dict(text=[' '.join(word(2000*i+j) for j in range(2000)) for i in range(40)]))
    c = TextCorpus.from_df(many, min_freq=1, max_vocab=100_000)
    i = c.train[-1]
    assert c.raw.dtype==np.int32 and c.tokens(i)==next(tokenize([many.text[i]]))


def test_processes_and_files_give_the_same_ids(tmp_path, monkeypatch):
    df = notes(1500)
    df.to_csv(tmp_path/'a.csv', index=False)
    one = TextCorpus.from_df(df)
    monkeypatch.setenv('ULMFIT_CACHE', str(tmp_path/'other'))
    files = TextCorpus.from_files([tmp_path/'a.csv'])
    two = list(tokenize(df.text, n_workers=2))
    assert np.array_equal(one.raw, files.raw) and np.array_equal(one.offsets, files.offsets)
    assert two==list(tokenize(df.text)) and [len(t) for t in two]==one.lens.tolist()


@pytest.mark.parametrize('text', ['word '*2_000_000, 'x'*100_000, '\x00\x01\x02\x7f', '🙂👨‍👩‍👧'*1000, '\n'*100_000+'end', ' '*100_000+'end', 'a\ud800b'])
def test_odd_texts_pass(tmp_path, text):
    c = TextCorpus.from_df(pd.DataFrame(dict(text=pd.Series([text, 'plain text', 'more text', 'and more'], dtype=object))), valid_pct=.25, min_freq=1)
    assert len(c[0])>1 and c.tokens(0)[0]=='xxbos'


def test_labels_as_numpy_and_pandas_give_them():
    df = pd.DataFrame(dict(label=[[np.int64(1)], {np.int64(0), np.int64(1)}, np.array([0])], a=[0, 1, 1], b=[1, 0, 1]))
    labels, classes, task = check_labels(df, 'label')
    assert (labels, classes, task)==([[1], [0, 1], [0]], [0, 1], 'multi') and json.dumps([labels, classes])
    for cols in (['a', 'b'], df.columns[1:], L('a', 'b'), np.array(['a', 'b'])): assert check_labels(df, cols)[1:]==(['a', 'b'], 'multi')
    assert check_labels(pd.DataFrame({0:['sea x', 'x']}), 0, ' ')[0]==[['sea', 'x'], ['x']]


def test_documents_from_the_end(tmp_path, df):
    c = TextCorpus.from_df(df, min_freq=1)
    assert c.tokens(-1)==c.tokens(len(c)-1)!=[] and np.array_equal(c[-len(c)], c[0])
    for i in (len(c), -len(c)-1):
        with pytest.raises(IndexError): c[i]


def test_a_mark_before_the_first_word(tmp_path):
    "Windows puts one before UTF-8"
    for name, codec in (('a', 'utf-8'), ('b', 'utf-8-sig')): (tmp_path/f'{name}.txt').write_text('The boat left in the early morning.', encoding=codec)
    c = TextCorpus.from_files([tmp_path/'a.txt', tmp_path/'b.txt'], valid_pct=.5, min_freq=1)
    assert c.tokens(0)==c.tokens(1)


def test_half_a_surrogate_pair_in_a_new_text(tmp_path):
    "is a question mark, wherever the text is read"
    dls = TextCorpus.from_df(notes(40), label_col='label').clas_dls()
    corpus_ids, = dls.train_ds.tokenizer.corpus.encoder()(['the \ud83d\ud83d\ud83d boat'])
    assert dls.train_ds.numericalize(dls.train_ds.tokenizer('the \ud83d\ud83d\ud83d boat')).tolist()==corpus_ids.tolist()


def test_tables_read_as_they_are(tmp_path):
    "An empty cell at the end of each row is none; numbers of JSON keep all digits; labels lose the spaces about them"
    (tmp_path/'a.csv').write_text('text,label\na boat,sea,\na train,land,\n')
    assert read_table(tmp_path/'a.csv').values.tolist()==[['a boat', 'sea'], ['a train', 'land']]
    (tmp_path/'a.jsonl').write_text('{"text": "a boat", "id": 9007199254740993, "date": "2020-01-01", "code": "007"}\n{"text": "a train", "id": null}\n')
    df = read_table(tmp_path/'a.jsonl', dtype=str)
    assert df.id.tolist()==[9007199254740993, None] and df.date[0]=='2020-01-01' and df.code[0]=='007'
    assert read_table(tmp_path/'a.jsonl').dtypes.id==float
    pd.testing.assert_frame_equal(read_table(tmp_path/'a.jsonl')[['text', 'date', 'code']], pd.read_json(tmp_path/'a.jsonl', lines=True, dtype=False)[['text', 'date', 'code']])
    assert check_labels(pd.DataFrame(dict(label=['sea; x', 'x;sea ', ' '])), 'label', ';')==([['sea', 'x'], ['x', 'sea'], []], ['sea', 'x'], 'multi')


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 60), st.integers(0, 2**32-1))
def test_words_are_counted_in_blocks(lens, block, seed):
    "of any number of tokens, with documents that are longer or empty; counted anew here by Python"
    rng, offsets = np.random.default_rng(seed), np.r_[0, np.cumsum(lens)].astype(np.int64)
    raw, words = rng.integers(0, 40, offsets[-1]).astype(np.uint16), [f'w{i}' for i in range(40)]
    docs = rng.permutation(len(lens))[:rng.integers(0, len(lens)+1)]
    count = {}
    for d in docs:
        for t in raw[offsets[d]:offsets[d+1]]: count[words[t]] = count.get(words[t], 0)+1
    found = _make_vocab(raw, offsets, words, docs, None, None, 2, 100, block)
    assert {w for w in found if w[0]=='w'}=={w for w, n in count.items() if n>1}
