"Kinds of faults that users met elsewhere: answers that are wrong in silence, hours lost, servers that hang, data from others"
import copy
import csv
import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from fastai.callback.core import Callback
from fastai.callback.tracker import SaveModelCallback
from fastai.losses import BCEWithLogitsLossFlat
from fastai.metrics import F1Score, accuracy
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import KFold
from typer.testing import CliRunner
from conftest import TINY
from ulmfit_ext.classifier import classifier_learner, finetune_classifier
from ulmfit_ext.cli import app
from ulmfit_ext.data.tables import check_labels, read_table
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.samples import notes
from ulmfit_ext.data.tokenize import Encoder
from ulmfit_ext.ensemble import Ensemble
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.infer.predict import load_predictor
from ulmfit_ext.infer.linear import LinearModel
from ulmfit_ext.lm import finetune_lm
from ulmfit_ext.self_training import self_train
from ulmfit_ext.models.bundle import load_bundle, save_bundle, state_hash
from ulmfit_ext.infer.report import plot_confusion
from ulmfit_ext.train.parallel import torch_threads
from ulmfit_ext.train.recipe import RECIPES, get_recipe

R = get_recipe('default').replace(lm=dict(epochs=1, bs=4, seq_len=20), clas=dict(epochs=4, bs=10, lr=2e-2))
KW = dict(recipe=R, pretrained=None, lm_kwargs=dict(config=TINY), valid_pct=.3, backwards=False, progress=False)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "An ensemble of one direction and its run"
    os.environ['ULMFIT_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    run = tmp_path_factory.mktemp('trained')/'run'
    return ulmfit(notes(80), run_dir=run, **KW), run


# --- regression

@pytest.mark.parametrize('mean, sd', [(0, 1), (3e-6, 1e-6), (50, 10), (250_000, 80_000), (-1e6, 100)])
def test_numbers_of_any_size_are_learnt(mean, sd, tmp_path):
    df = notes(200)
    y = mean + sd*(2*(df.label=='sea')-1 + .1*np.random.default_rng(0).standard_normal(200))
    kw = {**KW, 'recipe':R.replace(clas=dict(epochs=15, lr=.1)), 'clas_kwargs':dict(drop_mult=.3), 'run_dir':tmp_path/'run', 'regression':True}
    clf = ulmfit(df.assign(label=y), **kw)
    rmse = clf.errors().RMSE
    assert rmse['forward']<.5*np.std(y) # of the mean alone: 1
    # learner, ensemble, bundle and predictor in the same units
    texts, want = df.text[:5].tolist(), clf.predict(df.text[:5])
    learn = clf.fwd
    with learn.no_bar(): one = [learn.predict(t)[0][0] for t in texts]
    np.testing.assert_allclose(one, want, rtol=1e-4, atol=1e-4*sd)
    np.testing.assert_allclose(load_predictor(tmp_path/'run').predict(texts), want, rtol=1e-4, atol=1e-4*sd)
    with learn.no_bar(), learn.no_logging(): assert learn.validate()[1]==pytest.approx(rmse['forward'], rel=1e-3)


def test_numbers_without_spread_or_finite_values_are_refused():
    for bad in ([5.]*40, [1e12, 1e12+1]*20):
        with pytest.raises(ValueError, match='expected finite numbers that differ'): ulmfit(notes(40).assign(label=bad), regression=True, **KW)


def test_an_option_for_another_task_is_refused():
    dls = TextCorpus.from_df(notes(40), label_col='label').clas_dls(10)
    with pytest.raises(ValueError, match='the targets are classes'): classifier_learner(dls, config=TINY, y_range=(1, 5))


# --- labels as they are written

@pytest.mark.parametrize('written', [('01', '02'), ('007', '08'), ('3.10', '3.9'), ('1.0', '2.0'), ('+1', '-1'), ('true', 'false'), ('1e3', '2e3'),
                                     ('12345678901234567890123', '1'), ('NA', 'None'), ('yes ', 'no')])
def test_class_labels_of_a_csv_stay_text(written, tmp_path):
    df = notes(60)
    df.assign(label=df.label.map(dict(zip(('sea', 'land'), written)))).to_csv(tmp_path/'a.csv', index=False)
    clf = ulmfit(tmp_path/'a.csv', **KW)
    assert clf.labels==sorted(written) and set(clf.predict(df.text[:9]))<=set(written)
    assert len(clf.report(df.text, read_table(tmp_path/'a.csv', dtype={'label':str}).label).errors)==2


@pytest.mark.parametrize('values, how, task', [([1, 2], None, 'single'), ([1.5, 2], None, 'regression'), ([1, 2], True, 'regression'),
                                               ([1.5, 2.], False, 'single'), ([1., 2.], False, 'single'), ([True, False], None, 'single')])
def test_the_task_follows_from_types_as_the_table_says(values, how, task):
    labels, classes, found = check_labels(notes(40).assign(label=values*20), 'label', regression=how)
    assert found==task and (task=='regression' or classes==sorted(values))


def test_whole_numbers_stored_as_floats_ask():
    with pytest.raises(ValueError, match='regression=True for numbers, regression=False for classes'): check_labels(notes(40).assign(label=[1., 2.]*20), 'label')


# --- tables

@pytest.mark.parametrize('rows, line', [(['"one,sea', 'two,land', '"three,sea', 'four,land'], 2), (['one,sea', '"two" or so,land'], 3),
                                        (['one,sea', '"two,land', 'three,sea'], 3)])
def test_quotes_that_swallow_rows_are_named_by_line(rows, line, tmp_path):
    (tmp_path/'a.csv').write_text('\n'.join(['text,label', *rows, '']))
    with pytest.raises(ValueError, match=f'the row in line {line} '): read_table(tmp_path/'a.csv')
    assert len(read_table(tmp_path/'a.csv', quoting=3))==len(rows)


def test_quotes_are_text_in_tsv_and_line_ends_stay_in_cells(tmp_path):
    (tmp_path/'a.tsv').write_text('text\tlabel\n"one\tsea\ntwo" \tland\n')
    assert read_table(tmp_path/'a.tsv').text.tolist()==['"one', 'two" ']
    df = pd.DataFrame({'text':['a\rb', 'c\nd, "e"', 'f\x00g', ';'], 'label':list('xyxy')})
    df.to_csv(tmp_path/'b.csv', index=False, quoting=csv.QUOTE_ALL)
    pd.testing.assert_frame_equal(read_table(tmp_path/'b.csv'), df, check_dtype=False)
    df.to_csv(tmp_path/'c.csv', index=False, sep=';', quoting=csv.QUOTE_ALL)
    pd.testing.assert_frame_equal(read_table(tmp_path/'c.csv', sep=';'), df, check_dtype=False)


def test_columns_of_the_table_survive_predictions(trained, tmp_path):
    df = notes(30).assign(prediction='mine', p_sea=1)
    rows = df.to_dict('records')
    rows[0]['text'], rows[1]['text'] = 'a boat \ud83d left', 'a\rb'
    (tmp_path/'a.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    res = CliRunner().invoke(app, ['predict', str(trained[1]), str(tmp_path/'a.jsonl')])
    assert res.exit_code==0, res.output
    got = read_table(tmp_path/'a-predictions.csv', dtype=str)
    assert got.prediction.eq('mine').all() and set(got.prediction_)<={'sea', 'land'} and got.p_sea.eq('1').all() and 'p_sea_' in got and got.text[1]=='a\rb'


def test_what_was_predicted_before_a_failure_stays(trained, tmp_path):
    df = notes(2500)
    df.loc[2100, 'text'] = ' '
    df.to_csv(tmp_path/'a.csv', index=False)
    res = CliRunner().invoke(app, ['predict', str(trained[1]), str(tmp_path/'a.csv')])
    assert res.exit_code==1 and 'the first is row 2100' in res.output and 'The first 2,000 rows are in' in res.output
    assert len(read_table(tmp_path/'a-predictions.csv'))==2000


# --- degenerate data

def test_text_without_words_is_pointed_out():
    df = pd.DataFrame(dict(text=[f'这部电影真的很好看{i}' for i in range(60)], label=['pos', 'neg']*30))
    with pytest.warns(UserWarning, match='of the words are unknown'): TextCorpus.from_df(df, label_col='label', lang='xx')


def test_unlabelled_texts_that_are_validation_texts_are_pointed_out():
    df = notes(60)
    with pytest.warns(UserWarning, match='also appear in the unlabelled texts'): TextCorpus.from_df(df, label_col='label', unlabeled=df.text)


def test_answers_that_are_not_numbers_are_an_error(trained):
    pred = load_predictor(trained[1])
    next(pred.models['fwd'][1].parameters()).data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match='answers NaN'): pred.predict(['a boat'])


def test_each_class_has_a_document_to_train_on():
    df = pd.DataFrame(dict(text=[f'please do thing number {i//2} now {i}' for i in range(200)], label=[f'intent{i//2:03d}' for i in range(200)]))
    multi = df.assign(label=[['all', l] for l in df.label])
    for seed in range(10):
        for d in (df, multi):
            c = TextCorpus.from_df(d, label_col='label', seed=seed)
            seen = {l for i in c.train for l in (c.labels[i] if d is multi else [c.labels[i]])}
            assert seen==set(c.classes) and len(c.train)+len(c.valid)==200


def test_the_only_document_of_a_class_is_trained_on():
    df = pd.DataFrame(dict(text=[f'thing {i} is here' for i in range(63)], label=['a']*30+['b']*30+['c','d','d']))
    for seed in range(10):
        with pytest.warns(UserWarning, match=r"1 of 4 classes of the data have a single document \('c' is one\)"):
            c = TextCorpus.from_df(df, label_col='label', seed=seed, valid_pct=.3)
        assert {c.labels[i] for i in c.train}==set(c.classes) and 60 not in c.valid and len(c.valid)>15


def test_all_rows_can_train(tmp_path):
    clf = ulmfit(notes(60), **{**KW, 'valid_pct':0, 'run_dir':tmp_path/'run'})
    assert len(clf.corpus.train)==60 and not (tmp_path/'run'/'results.csv').exists()
    assert len(load_predictor(tmp_path/'run').predict(['a boat']))==1


# --- before hours are spent

def spy_fits(monkeypatch):
    from fastai.learner import Learner
    seen, fit = [], Learner.fit
    def spied(self, *a, **kw):
        if type(kw.get('cbs')).__name__!='_Clock': seen.append(type(self).__name__)
        return fit(self, *a, **kw)
    monkeypatch.setattr(Learner, 'fit', spied)
    return seen


@pytest.mark.parametrize('kw', [dict(class_weight='balanced'), dict(class_weights={'sea':2.}), dict(epochs=0), dict(y_range=(0, 1)),
                                dict(loss_func=BCEWithLogitsLossFlat(), class_weights='balanced')])
def test_wrong_options_of_the_classifier_are_found_first(kw, monkeypatch):
    seen = spy_fits(monkeypatch)
    with pytest.raises((ValueError, TypeError)): ulmfit(notes(60), clas_kwargs=kw, **KW)
    assert 'LMLearner' not in seen


@pytest.mark.parametrize('field, value', [('lin_ftrs', (50, 50)), ('lr', (.01, .01)), ('multipliers', (1., .5)), ('output_p', 2.), ('head_p', ()),
                                          ('cut_frac', 0.), ('seq_len', 0), ('bs', 0), ('max_len', 0), ('epochs', 0), ('wd', -1.)])
def test_wrong_recipes_are_found_first(field, value, monkeypatch):
    seen = spy_fits(monkeypatch)
    with pytest.raises((ValueError, TypeError)): ulmfit(notes(60), **{**KW, 'recipe':R.replace(clas={field:value})})
    assert 'LMLearner' not in seen


def test_callbacks_for_the_classifier_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ulmfit(notes(60), clas_kwargs=dict(metrics=[accuracy, F1Score()], cbs=SaveModelCallback(monitor='f1_score')), **KW)


@pytest.mark.parametrize('labels', [['$10k_$20k', '$20k_$30k'], ['a$\\frac$', 'b'], ['C$%$', 'x'], ['x\ny', 'z'], ['^$_^$', 'ok'], ['\x00', 'a'], ['\ud83d', 'a'],
                                    ['w'*2000, 'b'], [f'class {i}' for i in range(5000)]], ids=lambda l: repr(l[0][:8]))
def test_any_labels_can_be_drawn(labels, tmp_path):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    n, start = len(labels), time.process_time()
    y = np.arange(n).repeat(2)
    pred = np.where(np.arange(2*n)%7==0, (y+1)%n, y)
    fig, ax = plt.subplots()
    plot_confusion(np.eye(n, dtype=np.float32)[pred], y, labels, ax)
    fig.savefig(tmp_path/'c.png')
    plt.close(fig)
    assert time.process_time()-start<20


# --- servers

@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=('Zs', 'Zl', 'Zp', 'Cc')), min_size=1, max_size=3))
def test_time_of_a_pattern_grows_with_its_length(pattern):
    enc = Encoder(['xxunk'])
    def seconds(n):
        start = time.process_time()
        assert len(enc([pattern*(n//len(pattern))])[0])>1
        return time.process_time()-start
    seconds(1000) # which loads spaCy
    short, long = seconds(50_000), seconds(200_000)
    assert long<1 and long<8*short+.2


def test_memory_of_a_server_is_bounded():
    rng, enc = np.random.default_rng(0), Encoder(['xxunk', 'xxpad', 'xxbos', 'a'], max_chars=200_000)
    for _ in range(20):
        enc([' '.join(f'u{x:x}' for x in rng.integers(0, 2**60, 500)) for _ in range(5)])
        assert enc._tok._chars<200_000+2500*70 # and one call's


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_children_answer_after_a_fork(trained):
    pred = load_predictor(trained[1])
    want = pred.predict_proba(['a boat'])
    enc, stop = pred.encode.encode, threading.Event()
    def busy():
        i = 0
        while not stop.is_set():
            enc([f'a{i} b{j}' for j in range(300)])
            i += 1
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        with multiprocessing.get_context('fork').Pool(2) as pool: got = pool.map_async(pred.predict_proba, [['a boat']]*4).get(60)
    finally:
        stop.set()
        thread.join()
    for g in got: np.testing.assert_allclose(g, want, atol=1e-6)


# --- data from others

def test_models_in_a_hubs_cache_of_links_load(trained, tmp_path):
    import shutil
    shutil.copytree(trained[1]/'model', tmp_path/'model')
    for f in list((tmp_path/'model').rglob('*.*')):
        blob = tmp_path/'blobs'/f.name
        blob.parent.mkdir(exist_ok=True)
        f.rename(blob)
        f.symlink_to(os.path.relpath(blob, f.parent))
    assert load_predictor(tmp_path/'model').predict(['the boat'])
    (tmp_path/'blobs'/'vocab.json').write_text('["xxunk"]')
    with pytest.raises(ValueError, match='vocab.json is not the one'): load_predictor(tmp_path/'model')


def test_no_place_for_the_cache_is_no_reason_to_stop(tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    monkeypatch.setenv('ULMFIT_CACHE', str(tmp_path/'file'/'cache'))
    with pytest.warns(UserWarning, match=r'name a folder in \$ULMFIT_CACHE'): assert len(TextCorpus.from_df(notes(40)))==40


def test_a_damaged_model_is_written_again_on_resume(tmp_path):
    kw = {**KW, 'run_dir':tmp_path/'run'}
    want = ulmfit(notes(60), **kw).predict_proba(['a boat'])
    for f in (tmp_path/'run').rglob('model/**/model.safetensors'): f.write_bytes(b'')
    ulmfit(notes(60), resume=True, **kw)
    np.testing.assert_allclose(load_predictor(tmp_path/'run').predict_proba(['a boat']), want, atol=1e-6)


# --- fastai's own ways

def test_new_data_in_any_form(trained):
    ens, _ = trained
    learn, new = ens.fwd, notes(30, 5)[10:]
    with learn.no_bar():
        want = learn.get_preds(dl=learn.dls.test_dl(new.text.tolist()))[0]
        for items in (new.text, new, new[['text']], new.text.values): torch.testing.assert_close(learn.get_preds(dl=learn.dls.test_dl(items))[0], want)
        with learn.no_logging(): got = learn.validate(dl=learn.dls.test_dl(new, with_labels=True))
    assert 100*(1-got[1])==pytest.approx(ens.report(new.text, new.label).errors['error %'].iloc[0], abs=1e-3)
    other = copy.deepcopy(learn)
    with other.no_bar(), other.no_logging(): other.fit(1, 1e-9)
    for l in (other, copy.deepcopy(other)): assert l.predict('a boat')[0]==learn.predict('a boat')[0]
    for row in (new.iloc[3], new.iloc[3].to_dict()): torch.testing.assert_close(learn.predict(row)[2], learn.predict(new.text.iloc[3])[2])


def test_tables_in_any_form(tmp_path):
    df = notes(60)
    df.to_csv(tmp_path/'a.csv', index=False)
    want = ulmfit(df, **KW).predict_proba(['a boat'])
    for data in (tmp_path/'a.csv', str(tmp_path/'a.csv'), df.to_dict('list'), list(zip(df.text, df.label))):
        np.testing.assert_array_equal(ulmfit(data, **KW).predict_proba(['a boat']), want)


def test_k_folds_in_a_loop():
    df, errors = notes(60), []
    for _, test in KFold(3, shuffle=True, random_state=0).split(df):
        clf = ulmfit(df.assign(v=np.isin(np.arange(60), test)), valid_col='v', **KW)
        errors.append(clf.errors()['error %'].iloc[0])
    assert len(errors)==3 and np.isfinite(errors).all()


@pytest.mark.parametrize('form', ['lists', 'sets', 'delimited', 'columns'])
def test_reports_take_every_form_of_labels(form):
    df = notes(80)
    many = [[l, 'all'] if i%3 else [l] for i, l in enumerate(df.label)]
    how, labels = {}, many
    if form=='sets': labels = [set(o) for o in many]
    if form=='delimited': how, labels = dict(label_delim=';'), [';'.join(o) for o in many]
    d = df.assign(label=labels)
    if form=='columns':
        d = df.drop(columns='label').assign(**{k:[int(k in o) for o in many] for k in ('all', 'land', 'sea')})
        how, labels = dict(label_col=['all', 'land', 'sea']), d[['all', 'land', 'sea']]
    clf = ulmfit(d, **KW, **how)
    assert clf.report(d.text, labels).errors['documents'].iloc[0]==80


# --- next month

def test_going_on_next_month(trained, tmp_path):
    ens, run = trained
    more = notes(60, 7)
    kw = {k:v for k, v in KW.items() if k not in ('pretrained', 'lm_kwargs')}
    assert ulmfit(more, pretrained=run, **kw).lms['fwd'].starts_from==state_hash(load_bundle(run/'lm'/'fwd'/'model').state)
    new = more.copy()
    new.loc[::4, ['text', 'label']] = ['the pilot saw the sky at noon', 'air']
    for df in (more, new):
        dls = TextCorpus.from_df(df, label_col='label', vocab=ens.corpus.vocab, valid_pct=.3).clas_dls(10)
        learn, old = classifier_learner(dls, run, R.clas), ens.fwd
        a, b = (list(l.model.parameters())[-1] for l in (learn, old)) # a row for each label
        for l in ('land', 'sea'): torch.testing.assert_close(a[dls.labels.index(l)], b[old.dls.labels.index(l)])
        assert set(finetune_classifier(dls, run, R, progress=False).dls.labels)==set(df.label)


# --- what the learner does, the saved model does

def learners():
    from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock
    from fastai.data.transforms import ColReader, RandomSplitter
    from fastai.text.data import TextBlock, TextDataLoaders
    df = notes(80)
    many = df.assign(label=[f'{l};east' if i%3==0 else l for i, l in enumerate(df.label)])
    two = df.rename(columns=dict(text='body')).assign(title=['Ship news', 'Road news']*40)
    numbers = df.assign(label=10+(df.label=='sea')*3+np.random.default_rng(0).random(80))
    corpus = lambda d, **kw: TextCorpus.from_df(d, label_col='label', valid_pct=.3, **kw).clas_dls(10)
    stock = lambda d, text_col='text', **kw: TextDataLoaders.from_df(d, text_col=text_col, label_col='label', bs=8, seed=1, **kw)
    block = lambda get_x: DataBlock((TextBlock.from_df('text'), CategoryBlock), get_x=get_x, get_y=ColReader('label'), splitter=RandomSplitter(seed=0))
    yield 'corpus', corpus(df), {}, df.text
    yield 'threshold', corpus(many, label_delim=';'), dict(loss_func=BCEWithLogitsLossFlat(thresh=.3)), df.text
    yield 'numbers', corpus(numbers), {}, df.text
    yield 'y_range', corpus(numbers), dict(y_range=(9, 15)), df.text
    yield 'stock', stock(df), {}, df.text
    yield 'stock, several labels', stock(many, label_delim=';', y_block=MultiCategoryBlock), {}, df.text
    yield 'stock, several text columns', stock(two, ['title', 'body']), {}, two[['title', 'body']]
    yield 'DataBlock', block(ColReader('text')).dataloaders(df, bs=8), {}, df.text


@pytest.mark.parametrize('name', ['corpus', 'threshold', 'numbers', 'y_range', 'stock', 'stock, several labels', 'stock, several text columns', 'DataBlock'])
def test_learner_ensemble_and_predictor_agree(name, tmp_path):
    dls, kw, texts = next((d, k, t) for n, d, k, t in learners() if n==name)
    learn = finetune_classifier(dls, None, R, config=TINY, progress=False, **kw)
    ens = Ensemble(learn)
    pred = load_predictor(ens.export(tmp_path/'model'))
    some = texts[:6]
    np.testing.assert_allclose(pred.predict_proba(some), ens.predict_proba(some), atol=1e-5)
    assert np.allclose(pred.predict(some), ens.predict(some)) if pred.task=='regression' else pred.predict(some)==ens.predict(some)
    with learn.no_bar():
        rows = some.to_dict('records') if isinstance(some, pd.DataFrame) else some
        if name in ('corpus', 'threshold', 'numbers', 'y_range'):
            own = learn.get_preds(dl=learn.dls.test_dl(some))[0].numpy()
            np.testing.assert_allclose(pred.predict_proba(some), own, atol=1e-4)
        if name in ('corpus', 'threshold', 'stock'): assert [sorted(learn.predict(t)[0]) if pred.task=='multi' else learn.predict(t)[0] for t in rows]==[sorted(o) if pred.task=='multi' else o for o in pred.predict(some)]
    with learn.no_bar(): want = learn.get_preds()[0].numpy()
    np.testing.assert_allclose(ens.valid_outputs()[0]['forward'], want, atol=1e-4)


def test_a_transform_before_the_tokenizer_cannot_be_saved_in_silence(tmp_path):
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.transforms import ColReader, RandomSplitter
    from fastai.text.data import TextBlock
    def beginning(o): return o.text[:5]
    block = DataBlock((TextBlock.from_df('text'), CategoryBlock), get_x=beginning, get_y=ColReader('label'), splitter=RandomSplitter(seed=0))
    learn = finetune_classifier(block.dataloaders(notes(80), bs=8), None, R, config=TINY, progress=False)
    with pytest.raises(ValueError, match='transforms before or after it'): Ensemble(learn).export(tmp_path/'model')


def test_a_disk_without_room_is_found_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr('ulmfit_ext.one_call.shutil.disk_usage', lambda p: SimpleNamespace(free=1000))
    monkeypatch.setattr('ulmfit_ext.one_call.finetune_lm', None) # is not called
    with pytest.raises(OSError, match='make room'): ulmfit(notes(60), run_dir=tmp_path/'run', **KW)


@pytest.mark.parametrize('name', ['classifier', 'classifier/fwd/checkpoint.safetensors', 'results.csv', '.lock'])
def test_a_run_with_a_link_in_it_is_refused(name, tmp_path):
    class Stop(Callback):
        def before_epoch(self):
            if self.epoch==1: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): ulmfit(notes(60), run_dir=tmp_path/'run', cbs=Stop(), **{**KW, 'recipe':R.replace(clas=dict(unfreeze='full'))})
    at = tmp_path/'run'/name
    if at.exists(): at.rename(tmp_path/'elsewhere')
    at.symlink_to(tmp_path/'elsewhere')
    with pytest.raises(ValueError, match='is a link'): ulmfit(notes(60), run_dir=tmp_path/'run', resume=True, **{**KW, 'recipe':R.replace(clas=dict(unfreeze='full'))})


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_fork_while_another_thread_tokenises(tmp_path):
    enc, go = Encoder(['xxunk', 'xxpad', 'xxbos', 'a']), threading.Event()
    def busy():
        while not go.is_set(): enc([f'a{i} b{i}' for i in range(300)])
    t = threading.Thread(target=busy)
    t.start()
    time.sleep(.3)
    if not (pid := os.fork()):
        signal.alarm(20)
        enc(['a boat'])
        os._exit(0)
    code = os.waitpid(pid, 0)[1]
    go.set()
    t.join()
    assert code==0


# --- found by reading

def test_numbers_of_any_size_survive_half_precision(tmp_path):
    df = notes(80)
    clf = ulmfit(df.assign(label=200_000+10*(df.label=='sea')+np.arange(80)%3/2), regression=True, **KW)
    clf.fwd.save_bundle(tmp_path/'half', half=True)
    np.testing.assert_allclose(load_predictor(tmp_path/'half').predict(df.text[:9]), clf.predict(df.text[:9]), atol=.5)


def test_weights_beyond_half_precision_are_not_saved(trained, tmp_path):
    bundle = copy.deepcopy(trained[0].fwd.bundle())
    next(v for v in bundle.state.values() if v.is_floating_point()).fill_(1e6)
    with pytest.raises(ValueError, match='not finite in half precision'): save_bundle(bundle, tmp_path/'half', half=True)
    assert not (tmp_path/'half').exists()


def test_a_linear_model_beside_learners_of_ones_own():
    df = notes(80)
    corpus = TextCorpus.from_df(df, label_col='label', valid_pct=.3)
    ens = Ensemble(finetune_classifier(corpus.clas_dls(10), None, R, config=TINY, progress=False))
    before = ens.calibrate()
    with pytest.raises(AttributeError, match='weight'): ens.use_linear(lambda texts: 1) # is no linear model
    assert ens.predictor.linear is None and ens.rival is None and ens.predictor.calibration is before
    ens.use_linear(LinearModel.fit(df.text, (df.label=='sea').astype(int).to_numpy()))
    assert ens.name=='with TF-IDF' and 'with TF-IDF' in ens.errors().index and 'with TF-IDF' in ens.predictor.calibration.temperature
    ax = ens.plot_confusion()
    want = ens.report().confusion
    shown = np.array([float(t.get_text()) for t in ax.texts]).reshape(2, 2)
    np.testing.assert_allclose(shown, 100*want.div(want.sum(axis=1), axis=0), atol=.5)


def test_a_report_reads_what_comes_once(trained):
    df = notes(30, seed=4)
    want = trained[0].report(df.text, df.label)
    assert trained[0].report(iter(df.text), iter(df.label)).equals(want)


def test_a_resumed_run_gives_the_threads_back(tmp_path):
    class Stop(Callback):
        order = 99
        def before_epoch(self):
            if self.epoch==1: raise InterruptedError('now')
    class Threads(Callback):
        def before_batch(self): seen.append(torch.get_num_threads())
    corpus, seen = TextCorpus.from_df(notes(60), valid_pct=.3), []
    def train(cbs): finetune_lm(corpus.lm_dls(4, 10), None, R, epochs=2, config=TINY, run_dir=tmp_path/'run', resume=True, cbs=cbs, progress=False)
    with torch_threads(2), pytest.raises(InterruptedError): train(Stop())
    with torch_threads(1):
        train(Threads())
        assert set(seen)=={2} and torch.get_num_threads()==1


def test_columns_of_zeros_and_ones_in_a_file(tmp_path):
    df = notes(80)
    df.assign(sea=(df.label=='sea')*1, land=(df.label=='land')*1).drop(columns='label').to_csv(tmp_path/'t.csv', index=False)
    assert ulmfit(tmp_path/'t.csv', label_col=['sea', 'land'], **KW).labels==['sea', 'land']


def test_an_empty_folder_for_validation(tmp_path):
    (tmp_path/'a.txt').write_text('a text for training')
    (tmp_path/'valid').mkdir()
    with pytest.raises(FileNotFoundError, match='no texts for validation'): TextCorpus.from_files(tmp_path/'a.txt', valid=tmp_path/'valid')


@pytest.mark.parametrize('text', ['{"name":"x","lm":5,"clas":{},"pre":{}}', '{"name":"x","lm":{},"clas":{},"pre":{}}', '{"name":"x","lm":{"lr":1,"epochs":1,"bs":"a"},"clas":{},"pre":{}}'])
def test_recipes_that_are_none(text):
    with pytest.raises(ValueError, match="'lm' of the recipe|bs"): type(R).from_json(text)


def test_a_test_table_without_labels(tmp_path):
    notes(40).to_csv(tmp_path/'a.csv', index=False)
    notes(40).drop(columns='label').to_csv(tmp_path/'b.csv', index=False)
    res = CliRunner().invoke(app, ['train', str(tmp_path/'a.csv'), '--test', str(tmp_path/'b.csv'), '--out', str(tmp_path/'out')])
    assert res.exit_code==1 and "b.csv' has no column 'label'" in res.output and not (tmp_path/'out').exists()


def test_the_cache_of_somebody_who_is_tokenising_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv('ULMFIT_CACHE', str(tmp_path))
    (tmp_path/'building-1').mkdir()
    with FileLock(tmp_path/'a.lock'):
        CliRunner().invoke(app, ['cache', '--clear'])
        assert (tmp_path/'building-1').exists() and (tmp_path/'a.lock').exists()
    CliRunner().invoke(app, ['cache', '--clear'])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('name', list(RECIPES))
@pytest.mark.parametrize('how', ['full', 'last', 'chain_thaw', 'gradual'])
def test_any_recipe_with_any_plan(name, how):
    p = RECIPES[name]
    for phase, n in ((p.lm, 4), (p.clas, 5)):
        try: stages = replace(phase, unfreeze=how, n_top=None, epochs=8).stages(n)
        except ValueError as e: assert 'learning rates for' in str(e) and how=='gradual' # given for other stages
        else: assert sum(s.n_epoch for s in stages)==8 and all(len(s.lrs)==n for s in stages)


def test_a_student_keeps_the_weights_of_classes():
    clf = ulmfit(notes(200), clas_kwargs=dict(class_weights={'sea':2., 'land':1.}), **{**KW, 'recipe':R.replace(clas=dict(epochs=8, unfreeze='full', factor=1.))})
    student = self_train(clf, notes(60, seed=9).text.tolist(), epochs=1, epochs_last=1, progress=False)
    torch.testing.assert_close(student.fwd.loss_func.func.weight, torch.tensor([1., 2.]))
