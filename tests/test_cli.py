import contextlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace
import pandas as pd
import pytest
from typer.testing import CliRunner
from ulmfit_ext import __version__
from ulmfit_ext.cli import app
from ulmfit_ext.data.samples import notes
from ulmfit_ext.train.recipe import get_recipe


def ulmfit(*args, cwd):
    "The command, in this process; `test_in_a_shell` and test_run.py start processes of their own"
    with contextlib.chdir(cwd) if sys.version_info>=(3, 11) else _chdir(cwd): res = CliRunner().invoke(app, list(map(str, args)))
    return SimpleNamespace(returncode=res.exit_code, stdout=res.stdout, stderr=res.stderr)


@contextlib.contextmanager
def _chdir(path):
    before = os.getcwd()
    os.chdir(path)
    try: yield
    finally: os.chdir(before)


def test_in_a_shell(tmp_path):
    def shell(*args): return subprocess.run([sys.executable, '-c', 'from ulmfit_ext.cli import app; app()', *args], capture_output=True, text=True, cwd=tmp_path)
    res = shell('--version')
    assert (res.returncode, res.stdout, res.stderr)==(0, f'ulmfit_ext {__version__}\n', '')
    res = shell('train', 'none.csv')
    assert (res.returncode, res.stderr)==(1, "Error: there is no file 'none.csv': expected a table to read\n") # and no warning of fastai's import


def save(df, path):
    if '.parquet' in path.name: df.to_parquet(path)
    elif '.jsonl' in path.name: df.to_json(path, orient='records', lines=True)
    else: df.to_csv(path, index=False, sep='\t' if '.tsv' in path.name else ',')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    "A model trained from the command line, on odd column names"
    d = tmp_path_factory.mktemp('cli')
    for name, n, seed in (('train.csv', 80, 0), ('test.tsv.gz', 40, 1), ('more.jsonl.xz', 60, 2)):
        save(notes(n, seed).rename(columns=dict(text='note', label='where')), d/name)
    save(notes(9).replace('sea', 'air').rename(columns=dict(text='note', label='where')), d/'odd.csv')
    r = get_recipe('paper').replace(name='short', pre=dict(lr=1e-2, seq_len=20), clas=dict(bs=10, lr=2e-2))
    (d/'short.json').write_text(r.to_json())
    res = ulmfit('train', 'train.csv', '--test', 'test.tsv.gz', '--unlabeled', 'more.jsonl.xz', '--text-col', 'note', '--label-col', 'where', '--recipe', 'short.json',
                 '--lm-epochs', 2, '--epochs', 6, '--pretrained', 'none', '--sizes', '16,24,3', '--out', 'model', cwd=d)
    assert res.returncode==0, res.stderr[-2000:]
    return d, res


def test_train(trained):
    d, res = trained
    assert 'Validation' in res.stdout and 'Test' in res.stdout and 'both' in res.stdout and 'TF-IDF' in res.stdout
    for f in ('rates.png', 'stages.png', 'loss.png', 'confusion.png'): assert (d/'model'/f).read_bytes()[:4]==b'\x89PNG'
    assert pd.read_csv(d/'model'/'test-results.csv').model.tolist()==['forward', 'backward', 'both', 'TF-IDF']
    recipe = json.loads((d/'model'/'recipe.json').read_text())
    assert (recipe['name'], recipe['lm']['epochs'], recipe['clas']['epochs'])==('short', 2, 6)


def test_several_labels(trained, tmp_path):
    for name, n, seed in (('train.csv', 80, 0), ('test.csv', 40, 1)):
        df = notes(n, seed)
        labels = df.label+df.text.str.contains('early').map({True:';early', False:''})
        save(df.assign(label=labels.where(labels!='land')), tmp_path/name) # which leaves some without any
    (tmp_path/'short.json').write_text((trained[0]/'short.json').read_text())
    args = ['train', 'train.csv', '--test', 'test.csv', '--recipe', 'short.json', '--lm-epochs', 1, '--epochs', 5, '--pretrained', 'none', '--sizes', '16,24,3', '--direction', 'fwd', '--out', 'model']
    save(notes(40, 1).assign(label='sea;late'), tmp_path/'odd.csv')
    odd = ulmfit(*['odd.csv' if a=='test.csv' else a for a in args], '--label-delim', ';', cwd=tmp_path)
    assert odd.returncode==1 and "'odd.csv': label 'late' was not trained on" in odd.stderr and not (tmp_path/'model').exists()
    res = ulmfit(*args, '--label-delim', ';', cwd=tmp_path)
    assert res.returncode==0, res.stderr[-2000:]
    assert (tmp_path/'model'/'test-results.csv').exists()
    assert ulmfit('predict', 'model', 'test.csv', cwd=tmp_path).returncode==0
    got = pd.read_csv(tmp_path/'test-predictions.csv', keep_default_na=False)
    assert {l for o in got.prediction for l in o.split(';') if l}<={'sea', 'land', 'early'} and {'p_early', 'p_land', 'p_sea'}<=set(got)
    assert ulmfit('predict', 'model', 'test.csv', '--label-delim', ', ', '--out', 'commas.csv', cwd=tmp_path).returncode==0
    assert pd.read_csv(tmp_path/'commas.csv', keep_default_na=False).prediction.tolist()==[o.replace(';', ', ') for o in got.prediction]
    bad = ulmfit('predict', 'model', 'test.csv', '--label-delim', 'a', '--out', 'bad.csv', cwd=tmp_path)
    assert bad.returncode==1 and "label 'early' contains 'a'" in bad.stderr and not (tmp_path/'bad.csv').exists()


def test_labels_that_look_like_numbers_in_one_table(trained, tmp_path):
    df = notes(80)
    save(df.assign(label=df.label.map(dict(sea='1', land='2')).where(df.index>3, 'x')), tmp_path/'train.csv')
    for name in ('valid.csv', 'test.csv'): save(df[20:60].assign(label=df.label.map(dict(sea=1, land=2))), tmp_path/name)
    (tmp_path/'short.json').write_text((trained[0]/'short.json').read_text())
    res = ulmfit('train', 'train.csv', '--valid', 'valid.csv', '--test', 'test.csv', '--recipe', 'short.json', '--lm-epochs', 1, '--epochs', 5, '--pretrained', 'none', '--sizes', '16,24,3', '--direction', 'fwd', '--out', 'model', cwd=tmp_path)
    assert res.returncode==0, res.stderr[-2000:]
    assert pd.read_csv(tmp_path/'model'/'test-results.csv').documents.tolist()==[40, 40]


@pytest.mark.parametrize('name', ['new.csv', 'new.tsv', 'new.jsonl.gz', 'new.parquet'])
def test_predict(trained, name):
    d, _ = trained
    new = notes(9, 3).drop(columns='label').rename(columns=dict(text='note')).assign(id=range(9))
    save(new, d/name)
    res = ulmfit('predict', 'model', name, '--text-col', 'note', '--out', f'{name}.out.csv', cwd=d)
    assert res.returncode==0, res.stderr[-2000:]
    got = pd.read_csv(d/f'{name}.out.csv')
    assert got.columns.tolist()==['note', 'id', 'prediction', 'p_land', 'p_sea']
    assert (got.p_land+got.p_sea).round(4).eq(1).all() and got.id.tolist()==list(range(9))
    assert got.prediction.eq(got.p_sea.gt(.5).map({True:'sea', False:'land'})).all()
    again = ulmfit('predict', 'model', name, '--text-col', 'note', '--out', f'{name}.out.csv', cwd=d)
    assert again.returncode==1 and 'exists' in again.stderr and pd.read_csv(d/f'{name}.out.csv').equals(got)


def test_predict_keeps_what_the_table_says(trained, tmp_path):
    (tmp_path/'new.csv').write_text('id,code,price,when,note\n007,NA,1.10,2020-01-01,the boat sails\n008,,2,None,a train\n')
    assert (res := ulmfit('predict', trained[0]/'model', 'new.csv', '--text-col', 'note', cwd=tmp_path)).returncode==0, res.stderr
    lines = (tmp_path/'new-predictions.csv').read_text().splitlines()
    assert lines[0]=='id,code,price,when,note,prediction,p_land,p_sea' and [l.rsplit(',', 3)[0] for l in lines[1:]]==['007,NA,1.10,2020-01-01,the boat sails', '008,,2,None,a train']
    (tmp_path/'v1.2.jsonl').write_bytes('\ufeff{"id": 9007199254740993, "note": "the boat sails"}\n\n{"id": null, "1": true, "note": "a train"}\n'.encode())
    assert (res := ulmfit('predict', trained[0]/'model', 'v1.2.jsonl', '--text-col', 'note', cwd=tmp_path)).returncode==0, res.stderr
    assert [l.rsplit(',', 3)[0] for l in (tmp_path/'v1.2-predictions.csv').read_text().splitlines()]==['id,note,1', '9007199254740993,the boat sails,', ',a train,True']


@pytest.mark.parametrize('args,says', [
    (['train', 'none.csv'], 'no file'), (['train', 'train.csv'], "no column 'text'"), (['train', 'train.csv', '--out', 'model'], '--resume'),
    (['train', 'train.csv', '--recipe', 'papper'], 'no recipe'), (['train', 'train.csv', '--sizes', '16,24,3'], '--pretrained none'), (['train', 'train.csv', '--text-col', 'note', '--label-col', 'where', '--lang', 'de'], '--pretrained none'), (['predict', 'train.csv', 'train.csv'], "no column 'text'"),
    (['train', 'train.csv', '--text-col', 'note', '--label-col', 'where', '--test', 'odd.csv'], "'odd.csv': label 'air' was not trained on"), (['predict', 'model', 'train.csv', '--text-col', 'note', '--out', 'none/x.csv'], 'no folder'),
    (['predict', '.', 'train.csv', '--text-col', 'note', '--out', 'x.csv'], 'is not a bundle')])
def test_one_sentence(trained, args, says):
    res = ulmfit(*args, cwd=trained[0])
    assert res.returncode==1 and says in res.stderr and 'Traceback' not in res.stderr
    assert len([l for l in res.stderr.strip().splitlines() if not l.startswith('Note: ')])==1


def test_help(tmp_path):
    res = ulmfit('--help', cwd=tmp_path)
    assert res.returncode==0 and all(c in res.stdout for c in ('demo', 'train', 'predict'))
    for c in ('demo', 'train', 'predict'):
        res = ulmfit(c, '-h', cwd=tmp_path)
        assert res.returncode==0 and '--out' in res.stdout


def test_pretrain_then_train(tmp_path):
    notes(300, 7).to_csv(tmp_path/'general.csv', index=False)
    notes(60).to_csv(tmp_path/'train.csv', index=False)
    r = get_recipe('paper').replace(name='short', pre=dict(lr=1e-2, seq_len=20, bs=8), lm=dict(epochs=1, bs=4, seq_len=20), clas=dict(epochs=5, bs=10, lr=2e-2))
    (tmp_path/'short.json').write_text(r.to_json())
    how = ['--recipe', 'short.json', '--sizes', '16,24,3']
    for args in (['--out', 'general/fwd'], ['--out', 'general/bwd', '--backwards', '--embeddings', 'general/fwd/model', '--max-tokens', 1000]):
        res = ulmfit('pretrain', 'general.csv', *how, *args, cwd=tmp_path)
        assert res.returncode==0 and 'Validation perplexity' in res.stdout, res.stderr[-2000:]
    res = ulmfit('pretrain', 'general.csv', '--recipe', 'short.json', '--pretrained', 'general', '--out', 'on', cwd=tmp_path) # it has learnt already
    first, then = (json.loads((tmp_path/f/'model'/'config.json').read_text())['metrics']['perplexity'] for f in ('general/fwd', 'on'))
    assert res.returncode==0 and then<first, res.stderr[-2000:]
    for args, says in ((['--sizes', '16,24,3'], '--sizes'), (['--embeddings', 'general/fwd/model'], 'leave one out'), (['--backwards'], 'reads fwd'), (['--lang', 'de'], 'use a model of the same language')):
        res = ulmfit('pretrain', 'general.csv', '--recipe', 'short.json', '--pretrained', 'general/fwd', *args, '--out', 'not', cwd=tmp_path)
        assert res.returncode==1 and says in res.stderr and 'tokenising' not in res.stdout and len(res.stderr.strip().splitlines())==1 and not (tmp_path/'not').exists(), res.stderr
    again = ulmfit('pretrain', 'general.csv', *how, '--out', 'general/fwd', cwd=tmp_path)
    assert again.returncode==1 and '--resume' in again.stderr
    other = ulmfit('pretrain', 'general.csv', *how, '--out', 'general/fwd', '--resume', '--lr', .5, cwd=tmp_path)
    assert other.returncode==1 and 'recipe.pre.lr' in other.stderr
    res = ulmfit('train', 'train.csv', '--pretrained', 'general', '--recipe', 'short.json', '--out', 'model', cwd=tmp_path)
    assert res.returncode==0, res.stderr[-2000:]
    res = ulmfit('train', 'train.csv', '--pretrained', 'general', '--recipe', 'short.json', '--out', 'model', '--resume', cwd=tmp_path) # all is done
    assert res.returncode==0, res.stderr[-2000:]
