"From a trained model to daily use: answers, reports, explanations, pages, in Python and in a shell"
import io
import os
import re
import subprocess
import sys
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from typer.testing import CliRunner
from conftest import TINY
from ulmfit_ext.cli import app
from ulmfit_ext.data.samples import notes
from ulmfit_ext.ensemble import verdict
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.infer.calibrate import Calibration, calibration_error, cool
from ulmfit_ext.infer.predict import load_predictor
from ulmfit_ext.infer.report import Report
from ulmfit_ext.train.recipe import get_recipe

R = get_recipe('default').replace(lm=dict(epochs=1, bs=4, seq_len=20), clas=dict(epochs=6, bs=10, lr=2e-2))
KW = dict(recipe=R, pretrained=None, lm_kwargs=dict(config=TINY), valid_pct=.3, progress=False)


@pytest.fixture(scope='module')
def single(tmp_path_factory):
    os.environ['ULMFIT_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    run = tmp_path_factory.mktemp('daily')/'run'
    return ulmfit(notes(240), run_dir=run, **KW), run


@pytest.fixture(scope='module')
def several(tmp_path_factory):
    df = notes(240)
    df['label'] = [[l] if i%3 else [l, 'third'] for i, l in enumerate(df.label)]
    df.loc[::3, 'text'] += ' in the third year'
    run = tmp_path_factory.mktemp('daily')/'several'
    return ulmfit(df, run_dir=run, **KW), run


def shell(*args, **kw): return CliRunner().invoke(app, list(map(str, args)), **kw)


# --- answers

@pytest.mark.parametrize('kind', ['single', 'several'])
def test_ensemble_and_saved_model_agree_in_every_answer(kind, request):
    clf, run = request.getfixturevalue(kind)
    pred, texts = load_predictor(run), notes(30, seed=3).text.tolist()
    assert pred.calibration==clf.predictor.calibration and pred.calibration.documents>=50
    np.testing.assert_allclose(pred.predict_proba(texts), clf.predict_proba(texts), rtol=1e-5, atol=1e-7)
    assert pred.predict(texts)==clf.predict(texts) and pred.predict(texts[0])==clf.predict(texts)[0]
    for a, b in zip(pred.top(texts, 2), clf.top(texts, 2)): assert [l for l, _ in a]==[l for l, _ in b] and a[0][1]>=a[1][1]
    pd.testing.assert_frame_equal(pred.to_frame(texts), clf.to_frame(texts))
    if kind=='single':
        sure = clf.predict_proba(texts).max(1)
        assert [a is None for a in clf.predict(texts, abstain=.9)]==(sure<.9).tolist()
    else: assert all(len(a)==3 for a in clf.predict(texts, thresh=0)) and not any(clf.predict(texts, thresh=1))


def test_temperatures_are_applied_and_keep_the_order(single):
    clf, run = single
    pred = load_predictor(run)
    cal, pred.calibration = pred.calibration, None
    texts = notes(50, seed=9).text
    raw = pred.outputs(texts)
    for k, p in clf.predictor.outputs(texts).items(): np.testing.assert_allclose(p, cool(raw[k], cal.temperature[k]), rtol=1e-4, atol=1e-6)
    assert (raw['both'].argmax(1)==clf.predict_proba(texts).argmax(1)).all()


@pytest.mark.parametrize('true', [.4, 1., 3.])
def test_a_known_temperature_is_found(true):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5))*2
    p = torch.tensor(logits).softmax(1).numpy()
    y = np.array([rng.choice(5, p=o) for o in p])
    wrong = torch.tensor(logits*true).softmax(1).numpy()
    cal = Calibration.fit({'forward':wrong}, y)
    assert cal.temperature['forward']==pytest.approx(true, rel=.1) and cal.ece['after']<max(.03, cal.ece['before'])


def test_calibration_error_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    p = rng.dirichlet([1, 1, 1], 500)
    y = rng.integers(0, 3, 500)
    total = 0
    for lo in np.arange(15)/15:
        at = [i for i in range(500) if lo<=p[i].max()<lo+1/15]
        if at: total += abs(sum(p[i].max() for i in at)-sum(p[i].argmax()==y[i] for i in at))
    assert calibration_error(p, y, n_bins=15)==pytest.approx(total/500)


def test_few_documents_leave_probabilities_alone():
    clf = ulmfit(notes(60), **{**KW, 'backwards':False})
    assert clf.calibration.temperature['forward']==1 and clf.calibration.documents==18


def test_a_threshold_of_the_loss_stays(tmp_path):
    from fastai.losses import BCEWithLogitsLossFlat
    df = notes(240)
    df['label'] = [[l] for l in df.label]
    clf = ulmfit(df, clas_kwargs=dict(loss_func=BCEWithLogitsLossFlat(thresh=.3)), **{**KW, 'backwards':False})
    assert clf.thresholds==.3 and clf.as_saved().thresholds==.3


# --- reports

def test_figures_are_those_of_scikit_learn(single):
    clf, new = single[0], notes(80, seed=5)
    rep = clf.report(new.text, new.label)
    want = precision_recall_fscore_support(new.label, clf.predict(new.text), labels=clf.labels, zero_division=0)
    for name, values in zip(('precision', 'recall', 'F1', 'support'), want): np.testing.assert_allclose(rep.classes.loc[clf.labels, name], values)
    assert list(rep.errors.index)==['forward', 'backward', 'both', 'TF-IDF']
    wrong = rep.confused(100)
    assert len(wrong)==(np.array(clf.predict(new.text))!=new.label).sum() and wrong.probability.is_monotonic_decreasing


def test_report_of_numbers_and_of_several_labels(several, tmp_path):
    clf = several[0]
    rep = clf.report()
    assert set(rep.classes.index)>={'land', 'sea', 'third', 'micro avg'} and '<table' in rep._repr_html_()
    rep.save(tmp_path/'several.html')
    df = notes(80)
    df['label'] = (df.label=='sea')*2.5+np.arange(80)%5
    num = ulmfit(df, **{**KW, 'backwards':False}).report()
    assert {'RMSE', 'MAE'}<=set(num.errors) and 'Largest errors' in num._repr_html_()
    num.save(tmp_path/'numbers.html')


def test_scripts_in_labels_and_texts_are_shown_as_text(tmp_path):
    bad = '<script>alert(1)</script>'
    p = np.array([[.9, .1], [.2, .8]])
    rep = Report({'both':p}, np.array([1, 0]), 'single', [bad, '$x$'], [bad, '<img src=x onerror=alert(1)>'])
    page = rep.save(tmp_path/'a.html', bad).read_text()
    assert '<script' not in page+rep._repr_html_() and '<img src=x' not in page
    with pytest.raises(FileExistsError, match='name a new file'): rep.save(tmp_path/'a.html')


# --- explanations

@pytest.mark.parametrize('kind', ['single', 'several'])
def test_contributions_add_up_to_the_change(kind, request):
    pytest.importorskip('captum')
    pred, long = load_predictor(request.getfixturevalue(kind)[1]), ' '.join(notes(60).text)
    for text in (notes(1).text[0], 'The sea, the SEA!!!! <b>and</b> the farm', long):
        e = pred.explain(text)
        for k in ('forward', 'backward', 'both'): assert e.parts[k].sum()==pytest.approx(e.change[k], abs=.02+.02*abs(e.change[k]))
        assert len(e.tokens)==len(e.values)==len(e.to_frame())
        assert re.sub(r'<[^>]*>', '', e._repr_html_()).count('\n')>=1 and '<b>and' not in e._repr_html_()
    before = pred.predict_proba(long)
    pred.explain(long)
    np.testing.assert_array_equal(pred.predict_proba(long), before) # the model is left as it was


def test_gradients_agree_with_occlusion(single):
    pytest.importorskip('captum')
    pred = load_predictor(single[1])
    a, b = [], []
    for t in notes(12, seed=8).text:
        a += pred.explain(t).values.tolist()
        b += pred.explain(t, method='occlusion').values.tolist()
    assert np.corrcoef(a, b)[0, 1]>.7


def test_occlusion_is_the_change_when_a_word_is_unknown(single):
    pred, text = load_predictor(single[1]), 'the sailor saw the harbour'
    pred.calibration = None
    e = pred.explain(text, 'sea', 'occlusion')
    p, q = (pred.outputs([t])['forward'][0, 1] for t in (text, text.replace('harbour', 'zyxw')))
    i = e.tokens.index('harbour')
    assert e.parts['forward'][i]==pytest.approx(np.log(p/(1-p))-np.log(q/(1-q)), abs=1e-4)


# --- in a shell

def test_options_of_predict(single, several, tmp_path):
    notes(20).drop(columns='label').assign(id=range(20)).to_csv(tmp_path/'a.csv', index=False)
    res = shell('predict', single[1], tmp_path/'a.csv', '--top', 1, '--abstain', .99, '--out', tmp_path/'b.csv', '--explain')
    assert res.exit_code==0, res.output
    got = pd.read_csv(tmp_path/'b.csv')
    assert list(got)==['text', 'id', 'prediction', 'top_1', 'p_1', 'because'] and (got.prediction.isna()==(got.p_1<.99)).all() and got.because.str.contains(r'[+-]\d').all()
    res = shell('predict', several[1], tmp_path/'a.csv', '--thresh', 0, '--out', tmp_path/'c.csv')
    assert res.exit_code==0 and (pd.read_csv(tmp_path/'c.csv').prediction=='land;sea;third').all()
    for args, says in ((['--thresh', .3], "the task is 'single'"), (['--top', 1, '--text-col', 'words'], "no column 'words'")):
        res = shell('predict', single[1], tmp_path/'a.csv', '--out', tmp_path/'d.csv', *args)
        assert res.exit_code==1 and says in res.output and not (tmp_path/'d.csv').exists()


@pytest.mark.parametrize('given, column', [('a boat\nthe farm\n', 'text'), ('id,text\n1,"a boat, small"\n2,the farm\n', 'text'), ('\ufefftext\na boat\n"the\nfarm"\n', 'text')])
def test_standard_input(single, given, column):
    res = shell('predict', single[1], '-', input=given.encode())
    assert res.exit_code==0, res.output
    got = pd.read_csv(io.StringIO(res.stdout))
    assert len(got)==2 and set(got.prediction)<={'sea', 'land'} and 'p_sea' in got


def test_standard_input_without_text(single):
    res = shell('predict', single[1], '-', input=b'')
    assert res.exit_code==1 and 'standard input is empty' in res.output


def test_a_closed_pipe_ends_quietly(single):
    code = 'from ulmfit_ext.cli import app; app()'
    many = '\n'.join(notes(200).text.tolist()*30)
    p = subprocess.run(f'{sys.executable} -W ignore -c "{code}" predict {single[1]} - | head -1', input=many, shell=True, capture_output=True, text=True)
    assert p.stdout.startswith('text,prediction') and 'Traceback' not in p.stderr


def test_a_full_disk_leaves_whole_rows(single, tmp_path):
    notes(5000).to_csv(tmp_path/'a.csv', index=False)
    code = ('import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (150_000,)*2); '
            'from ulmfit_ext.cli import app; app()')
    p = subprocess.run([sys.executable, '-W', 'ignore', '-c', code, 'predict', str(single[1]), str(tmp_path/'a.csv')], capture_output=True, text=True)
    n = int(re.search(r'The first ([\d,]+) rows', p.stderr)[1].replace(',', ''))
    got = pd.read_csv(tmp_path/'a-predictions.csv')
    assert p.returncode==1 and len(got)==n and n%1000==0 and n>0 and got.p_sea.notna().all()


def test_evaluate(single, several, tmp_path):
    notes(60, seed=4).to_csv(tmp_path/'a.csv', index=False)
    res = shell('evaluate', single[1], tmp_path/'a.csv', '--out', tmp_path/'r.html')
    assert res.exit_code==0, res.output
    assert 'error %' in res.output and 'F1' in res.output and 'base64' in (tmp_path/'r.html').read_text()
    for args, says in ((['--label-col', 'x'], "no column 'x'"), (['--out', tmp_path/'r.html'], 'name a new file')):
        res = shell('evaluate', single[1], tmp_path/'a.csv', *args)
        assert res.exit_code==1 and says in res.output
    (tmp_path/'b.csv').write_text('text,label\n')
    assert shell('evaluate', single[1], tmp_path/'b.csv').exit_code==1
    notes(30).assign(label='sea;third').to_csv(tmp_path/'c.csv', index=False)
    res = shell('evaluate', several[1], tmp_path/'c.csv', '--label-delim', ';')
    assert res.exit_code==0 and 'third' in res.output


def test_explain_in_a_shell(single):
    pytest.importorskip('captum')
    res = shell('explain', single[1], 'The captain of the <b>boat</b> [red]x[/red]', '--target', 'sea')
    assert res.exit_code==0 and '<b>boat</b> [red]x[/red]' in res.output and 'sea: ' in res.output
    res = shell('explain', single[1], 'a', '--target', 'air')
    assert res.exit_code==1 and "expected one of ['land', 'sea']" in res.output


# --- a page

def test_the_page_answers(single, tmp_path):
    pytest.importorskip('gradio')
    from gradio_client import Client, handle_file
    from ulmfit_ext.infer.app import build_app
    page = build_app(load_predictor(single[1]), '<b>Sea</b>')
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name='127.0.0.1')
    try:
        client = Client(url, verbose=False)
        probs, words = client.predict('<script>alert(1)</script> the boat', True, api_name='/text')
        assert probs['label'] in ('sea', 'land') and '<script>' not in words and '&lt;script&gt;' in re.sub(r'</?span[^>]*>', '', words)
        notes(5).drop(columns='label').to_csv(tmp_path/'a.csv', index=False)
        assert len(pd.read_csv(client.predict(handle_file(tmp_path/'a.csv'), 'text', api_name='/table')))==5
        with pytest.raises(Exception, match="no column 'words'"): client.predict(handle_file(tmp_path/'a.csv'), 'words', api_name='/table')
        res = shell('app', single[1], '--port', url.rstrip('/').rsplit(':', 1)[1])
        assert res.exit_code==1 and 'choose another' in res.output
    finally: page.close()


# --- training

def test_fastais_own_plots_show_the_whole_phase(single):
    learn = single[0].fwd
    assert len(learn.recorder.losses)==len(learn.history) and len(learn.recorder.values)==len(learn.epochs)==R.clas.epochs
    learn.recorder.plot_loss()
    learn.recorder.plot_sched()


def test_what_a_run_writes(single, tmp_path):
    clf = single[0]
    assert set(clf.save_plots(tmp_path, clf.report()))=={'rates.png', 'stages.png', 'loss.png', 'results.png', 'confusion.png'}


def test_a_language_model_is_taken_as_it_is(single, monkeypatch):
    monkeypatch.setattr('ulmfit_ext.one_call.finetune_lm', None) # is not called
    clf = ulmfit(notes(60, seed=2), pretrained=single[1], lm_kwargs=dict(epochs=0), clas_kwargs=dict(epochs=1), progress=False)
    assert clf.corpus.vocab==single[0].corpus.vocab
    with pytest.raises(ValueError, match='give a language model'): ulmfit(notes(60), **{**KW, 'lm_kwargs':dict(epochs=0)})


def test_parquet_is_read_in_parts(single, tmp_path):
    notes(2500).to_parquet(tmp_path/'a.parquet')
    res = shell('predict', single[1], tmp_path/'a.parquet')
    assert res.exit_code==0 and len(pd.read_csv(tmp_path/'a-predictions.csv'))==2500


# --- found by others

def test_blank_texts_are_answered(single):
    pred = load_predictor(single[1])
    assert len(pred.predict(['', 'a boat', '  ', ''])) == 4 and pred.predict('') in pred.labels


def test_words_keep_their_place(single):
    pytest.importorskip('captum')
    pred = load_predictor(single[1])
    for text in ('The boat\n'+'='*60+'\nthe sailor saw the farm', 'the '*40+'boat', 'no &quot;boat&quot; &lt;b&gt; in <b> the "harbour"', 'the xxpad boat', 'xxl boat'):
        e = pred.explain(text)
        assert sum(v for *_, v in e.words())==pytest.approx(e.values.sum(), abs=1e-6+.3*abs(e.values[-1]))
        i = text.index('boat')
        assert any((a, b)==(i, i+4) for a, b, _ in e.words())


def test_blocks_with_other_columns_are_not_mixed_up(single, tmp_path):
    rows = [dict(id=i, text='a boat') for i in range(1000)]+[dict(text='a boat', id=1000)]*3
    pd.DataFrame(rows).to_json(tmp_path/'a.jsonl', orient='records', lines=True)
    with open(tmp_path/'a.jsonl', 'a') as f: f.write('{"text": "a boat"}\n')
    res = shell('predict', single[1], tmp_path/'a.jsonl')
    got = pd.read_csv(tmp_path/'a-predictions.csv')
    assert res.exit_code==0 and list(got)[:2]==['id', 'text'] and (got.text=='a boat').all() and len(got)==1004
    with open(tmp_path/'a.jsonl', 'a') as f: f.write('{"text": "a boat", "new": 1}\n')
    res = shell('predict', single[1], tmp_path/'a.jsonl', '--out', tmp_path/'b.csv')
    assert res.exit_code==1 and "a column 'new'" in res.output
    res = shell('predict', single[1], '-', input=b'id,text\n1,a boat\n2,a boat,more\n')
    assert res.exit_code==1 and 'more cells than the header' in res.output


@pytest.mark.parametrize('given, args, says', [(b'id,body\n1,x\n', ['--text-col', 'bodyy'], "no column 'bodyy'"), (b'text\n', [], 'no rows'),
                                               (b'text\n"a', [], "can't be read"), (b'a', ['--encoding', 'foo'], "can't be read"), (b'text,text\na,b\n', [], 'names that differ')])
def test_bad_standard_input(single, given, args, says):
    res = shell('predict', single[1], '-', *args, input=given)
    assert res.exit_code==1 and says in res.output and 'Traceback' not in res.output


def test_a_long_line_of_standard_input(single):
    res = shell('predict', single[1], '-', input=b'text\n"'+b'a boat '*30_000+b'"\n')
    assert res.exit_code==0 and len(pd.read_csv(io.StringIO(res.stdout)))==1


def test_small_numbers_stay(tmp_path):
    df = notes(100)
    df['label'] = 1e-7*(1+(df.label=='sea'))*(1+np.arange(100)%7/100)
    clf = ulmfit(df, run_dir=tmp_path/'run', **{**KW, 'backwards':False})
    assert (clf.to_frame(df.text).prediction>0).all() and '0.00 ' not in repr(clf.report())
    df.to_csv(tmp_path/'a.csv', index=False)
    res = shell('evaluate', tmp_path/'run', tmp_path/'a.csv')
    assert res.exit_code==0 and re.search(r'forward \d\.\d+e-0', res.output), res.output


def test_labels_that_are_numbers_in_a_shell(tmp_path):
    df = notes(100)
    df['label'] = (df.label=='sea').astype(int)
    ulmfit(df, run_dir=tmp_path/'run', **{**KW, 'backwards':False})
    df.to_csv(tmp_path/'a.csv', index=False)
    assert shell('evaluate', tmp_path/'run', tmp_path/'a.csv').exit_code==0
    if pytest.importorskip('captum'): assert shell('explain', tmp_path/'run', 'a boat', '--target', '1').exit_code==0


def test_several_labels_need_their_separator(several, tmp_path):
    notes(30).assign(label='sea;third').to_csv(tmp_path/'a.csv', index=False)
    res = shell('evaluate', several[1], tmp_path/'a.csv')
    assert res.exit_code==1 and '--label-delim' in res.output


def test_classes_with_names_of_means():
    p = np.eye(2)[[0, 1, 0]]*.8+.1
    rep = Report({'both':p}, np.array([0, 1, 1]), 'single', ['accuracy', 'macro avg'])
    assert list(rep.classes.index)==['accuracy', 'macro avg', 'macro avg', 'weighted avg'] and rep.classes.support.iloc[:2].tolist()==[1, 2]


def test_the_verdict_names_nobody_where_ranks_and_mean_disagree():
    y = np.zeros(60)
    ours = np.full((60, 1), .1)
    ours[0] = 50 # nearer in all but one, which is far off
    assert 'Too few' in verdict(Report({'both':ours, 'TF-IDF':np.full((60, 1), .2)}, y, 'regression'))
    assert 'ULMFiT is ahead' in verdict(Report({'both':ours[1:], 'TF-IDF':np.full((59, 1), .2)}, y[1:], 'regression'))


def test_the_verdict_is_mcnemars_and_counts_thresholds():
    y = np.array([0]*20)
    def probs(wrong): return np.array([[.2, .8] if i<wrong else [.8, .2] for i in range(20)])
    def says(ours, theirs): return verdict(Report({'both':probs(ours), 'TF-IDF':probs(theirs)}, y, 'single', ['a', 'b']))
    assert 'Too few' in says(0, 5) and 'ULMFiT is ahead' in says(0, 6) and 'TF-IDF is ahead' in says(6, 0) and 'Too few' in says(3, 3)
    several = Report({'both':np.full((40, 1), .3), 'TF-IDF':np.full((40, 1), .4)}, np.ones((40, 1)), 'multi', ['a'], thresh={'both':[.2], 'TF-IDF':[.5]})
    assert 'ULMFiT is ahead' in verdict(several)


@pytest.mark.parametrize('bad', ['{"temperature": {"both": 1'+'0'*400+'}}', '{"temperature": {"both": 0.001}}', '{"temperature": {"both": [1]}}', '{"temperature": {"both": true}}'])
def test_a_forged_calibration_is_refused(bad, tmp_path):
    (tmp_path/'calibration.json').write_text(bad)
    with pytest.raises(ValueError, match='is damaged'): Calibration.read(tmp_path/'calibration.json', 'single', 2)


def test_an_explanation_in_bf16(single):
    pytest.importorskip('captum')
    e = load_predictor(single[1], 'bf16').explain('the sailor saw the boat')
    assert np.isfinite(e.values).all() and len(e.values)==len(e.tokens)


def test_tables_of_a_model_with_several_text_columns(single):
    pred = load_predictor(single[1])
    pred.fields = ['xxfld', 'title', 'body']
    df = pd.DataFrame(dict(title=['a boat', 'a farm', 'a pier'], body=['today', 'early', 'at noon']))
    got = pred.to_frame(df)
    assert len(got)==3 and got.prediction.tolist()==pred.predict(df)
