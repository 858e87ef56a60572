"A linear model's part in predictions; learning curves and tables from the shell"
import json
import os
import shutil
import subprocess
import sys
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from ulmfit_ext.all import *
from ulmfit_ext.data.samples import notes
from ulmfit_ext.infer.calibrate import mixing_weight
from ulmfit_ext.infer.linear import LinearModel, word_weights

WORDS = 'sea land ship cart wave field gull crow and the Ünï of 42 a'.split()
TINY = dict(emb_sz=16, n_hid=24, n_layers=3)


def texts(n, rng): return [' '.join(rng.choice(WORDS, rng.integers(2, 12))) for _ in range(n)]


@pytest.mark.parametrize('task,k', [('single', 2), ('single', 4), ('multi', 3), ('regression', 1)])
def test_outputs_are_scikit_learns(task, k):
    rng = np.random.default_rng(k)
    train, new = texts(80, rng), texts(30, rng)
    y = {'single':lambda: np.r_[np.arange(k), rng.integers(0, k, 80-k)], 'multi':lambda: rng.integers(0, 2, (80, k)).astype(float), 'regression':lambda: rng.normal(size=80)}[task]()
    logistic = LogisticRegression(C=10, max_iter=1000)
    stock = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), {'single':logistic, 'multi':OneVsRestClassifier(logistic), 'regression':Ridge()}[task]).fit(train, y)
    want = stock.predict(new).reshape(-1, 1) if task=='regression' else stock.predict_proba(new)
    np.testing.assert_allclose(LinearModel.fit(train, y, task)(new), want, atol=1e-5)


def test_a_class_without_documents():
    rng = np.random.default_rng(0)
    y = rng.choice([0, 2], 60)
    probs = LinearModel.fit(texts(60, rng), y, 'single', 4)(texts(5, rng))
    assert probs.shape==(5, 4) and probs[:, [1, 3]].max()<1e-9


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet='ab İß.-,\n42', max_size=12), min_size=1, max_size=8), st.integers(0, 1))
def test_words_add_up_to_the_score(parts, i):
    rng = np.random.default_rng(0)
    model = LinearModel.fit([*texts(40, rng), 'ab ba 42 24 ab'], rng.integers(0, 2, 41))
    text = ' '.join(parts)
    s = model.scores([text])[0]
    found = word_weights(model, text, i)
    assert abs(sum(v for *_, v in found)-(s[i]-s[1-i]-model.intercept[i]+model.intercept[1-i]))<1e-4
    assert all(0<=a<b<=len(text) for a, b, _ in found)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_the_weight_fits_best(seed, n):
    rng = np.random.default_rng(seed)
    p, q, y = rng.dirichlet([1, 1, 1], n), rng.dirichlet([1, 1, 1], n), rng.integers(0, 3, n)
    def loss(w): return -np.log(np.maximum(((1-w)*p+w*q)[np.arange(n), y], 1e-12)).sum()-2*np.log(w*(1-w))
    w = mixing_weight(p, q, y)
    assert loss(w)<=min(loss(v) for v in np.linspace(.01, .99, 99))+1e-3


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run with a linear voice, its ensemble, and the table"
    d, df = tmp_path_factory.mktemp('linear'), notes(200)
    kw = dict(pretrained=None, lm_kwargs=dict(epochs=1, config=TINY), clas_kwargs=dict(epochs=2), valid_pct=.3, progress=False)
    return d/'run', ulmfit(df, linear=True, run_dir=d/'run', **kw), df, kw


def test_saved_with_the_models(run, tmp_path):
    path, ens, df, kw = run
    some = df.text.tolist()[:20]
    want = ens.predict_proba(some)
    out = ens.outputs(some)
    assert list(out)==['forward', 'backward', 'both', 'TF-IDF', 'with TF-IDF'] and ens.report().name=='with TF-IDF'
    for p in (load_predictor(path), load_predictor(ens.export(tmp_path/'model')), ens.as_saved()): np.testing.assert_array_equal(p.predict_proba(some), want)
    assert not list(path.rglob('*.pkl')) and {p.name for p in (path/'model'/'linear').iterdir()}=={'config.json', 'vocab.json', 'model.safetensors'}
    e = load_predictor(path).explain(some[0], method='occlusion')
    w = ens.rival.weight
    np.testing.assert_allclose(e.values, (1-w)*e.parts['both']+w*e.parts['TF-IDF'])


def test_a_voice_can_be_taken_back(run):
    path, ens, df, kw = run
    again = ulmfit(df, run_dir=path, resume=True, **kw)
    assert again.predictor.linear is None and not (path/'model'/'linear').exists()
    assert list(again.outputs(df.text[:3]))==['forward', 'backward', 'both', 'TF-IDF']
    ulmfit(df, run_dir=path, resume=True, linear=True, **kw)


@pytest.mark.parametrize('what', ['not JSON', 'weight', 'shape', 'nan', 'another task'])
def test_forged_linear_models(run, tmp_path, what):
    from safetensors.numpy import load_file, save_file
    shutil.copytree(run[0]/'model', tmp_path/'model')
    d = tmp_path/'model'/'linear'
    config, tensors = json.loads((d/'config.json').read_text()), load_file(d/'model.safetensors')
    if what=='weight': config['weight'] = 2.
    if what=='another task': config['task'] = 'multi'
    if what=='shape': tensors['coef'] = tensors['coef'][:, :-1].copy()
    if what=='nan': tensors['intercept'] = tensors['intercept']*np.nan
    (d/'config.json').write_text('{' if what=='not JSON' else json.dumps(config))
    save_file(tensors, d/'model.safetensors')
    with pytest.raises(ValueError, match='linear.*is damaged: get it again'): load_predictor(tmp_path/'model')


def test_small_vocabularies_keep_the_pretrained_words():
    bundle = pretrained('mini', 'fwd')
    corpus = TextCorpus.from_df(notes(40), label_col='label', known=bundle.vocab)
    assert set(bundle.vocab)-{'xxfake'}<=set(corpus.vocab) and len(set(corpus.vocab))==len(corpus.vocab) and 'xxfake' not in corpus.vocab
    own = TextCorpus.from_df(notes(40), label_col='label')
    assert len(TextCorpus.from_df(notes(40), label_col='label', known=bundle.vocab, max_vocab=500).vocab)==500
    assert corpus.vocab[:len(own.vocab)-own.vocab.count('xxfake')]==[w for w in own.vocab if w!='xxfake']


def shell(*args, cwd): return subprocess.run([sys.executable, '-W', 'ignore', '-m', 'ulmfit_ext.cli', *args], cwd=cwd, capture_output=True, text=True, timeout=300, env={**os.environ, 'OMP_NUM_THREADS':'1'})


def test_a_curve_reads_unlabelled_texts_of_any_kind():
    class Counts(ULMFiTClassifier):
        def fit_lm(self, texts, *args, **kwargs):
            self.lm = len(list(texts))
            return self
        def fit(self, X, y): return self
        def predict(self, X): return ['sea']*len(X)
        def set_params(self, **kw):
            read.append(self.lm)
            return super().set_params(**kw)
    df, more = notes(60), notes(12, seed=1).text
    for some in (more, iter(more), list(more)):
        read = []
        learning_curve(df, sizes=[20], methods={'it':Counts()}, seeds=(1,), unlabeled=some, progress=False)
        assert 48+12 in read


def test_a_curve_refuses_labels_and_sizes_that_cannot_be():
    df = notes(60)
    how = dict(methods={'TF-IDF':make_pipeline(TfidfVectorizer(), LogisticRegression())}, progress=False)
    with pytest.raises(ValueError, match="the test set: label '1' was not trained on"): learning_curve(df, test=df.assign(label='1'), **how)
    with pytest.raises(ValueError, match='sizes hold 47: expected 2 to 46, or 48'): learning_curve(df, sizes=[20, 47], **how)
    assert len(learning_curve(df, sizes=[20, 46, 48], seeds=(1,), **how))==3


def test_curve_from_the_shell(tmp_path):
    notes(120).to_csv(tmp_path/'n.csv', index=False)
    cmd = ['curve', 'n.csv', '--sizes', '20,40,80', '--draws', '1', '--epochs', '1', '--lm-epochs', '1']
    res = shell(*cmd, cwd=tmp_path)
    assert res.returncode==0 and 'the fewest errors' in res.stdout, res.stderr
    assert {'curve.csv', 'curve.png', 'cells.jsonl'}<={p.name for p in (tmp_path/'n-curve').iterdir()} and len(pd.read_csv(tmp_path/'n-curve'/'curve.csv'))==6
    # killed before the last cell was written: only that one is measured again
    cells = tmp_path/'n-curve'/'cells.jsonl'
    lines = cells.read_text().splitlines(keepends=True)
    cells.write_text(''.join(lines[:-1])+lines[-1][:20])
    res = shell(*cmd, '--resume', cwd=tmp_path)
    assert res.returncode==0 and cells.read_text().startswith(''.join(lines[:-1])), res.stderr
    assert json.loads(cells.read_text().splitlines()[-1])['cell']==json.loads(lines[-1])['cell']
    for args, says in ((['curve', 'n.csv'], 'holds a run'), (['curve', 'n.csv', '--sizes', 'many', '--out', 'b'], "--sizes is 'many'"),
                       (['ablate', 'n.csv', '--rows', 'table9'], "there is no table 'table9'")):
        res = shell(*args, cwd=tmp_path)
        assert res.returncode==1 and says in res.stderr, res.stderr


def test_students_from_the_shell(tmp_path):
    df = notes(400)
    df[:120].to_csv(tmp_path/'a.csv', index=False)
    df[120:][['text']].to_csv(tmp_path/'u.csv', index=False)
    cmd = ['train', 'a.csv', '--unlabeled', 'u.csv', '--pretrained', 'none', '--sizes', '24,32,3', '--epochs', '12', '--lm-epochs', '1', '--recipe', 'r.json', '--self-train']
    (tmp_path/'r.json').write_text(get_recipe('default').replace(name='t', clas=dict(unfreeze='full', factor=1., lr=.02, bs=8)).to_json())
    res = shell(*cmd, cwd=tmp_path)
    assert res.returncode==0, res.stderr
    run, teacher = tmp_path/'a-ulmfit', load_predictor(tmp_path/'a-ulmfit'/'teacher')
    first = (run/'model'/'fwd'/'model.safetensors').read_bytes()
    shutil.rmtree(run/'model')
    shutil.rmtree(run/'students'/'labels'/'fwd') # killed before the last step
    res = shell(*cmd, '--resume', cwd=tmp_path)
    assert res.returncode==0 and (run/'model'/'fwd'/'model.safetensors').read_bytes()==first, res.stderr
    pred = load_predictor(run)
    assert not np.allclose(pred.predict_proba(df.text[:9].tolist()), teacher.predict_proba(df.text[:9].tolist()))
    assert len(pred.models)==2 and (np.array(pred.predict(df.text[120:].tolist()))!=df.label[120:]).mean()<.3
    res = shell('train', 'a.csv', '--self-train', '--out', 'b', cwd=tmp_path)
    assert res.returncode==1 and '--self-train without --unlabeled' in res.stderr
    with pytest.raises(ValueError, match='without unlabeled texts'): ulmfit(df, self_train=True)
    with pytest.raises(ValueError, match="the task is 'multi'"):
        ulmfit(df.assign(label='a;'+df.label), label_delim=';', self_train=True, unlabeled=iter(['some text']), rival=False)
