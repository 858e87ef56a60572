"Each wrong input gets one sentence, and nothing is trained or written. `python tests/test_bad_input.py` prints them all."
import json
import pickle
import re
import warnings
from unittest import mock
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.basics import Learner, Pipeline, Transform, load_learner, noop
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders, TfmdLists
from fastai.data.transforms import ColReader, RandomSplitter
from fastai.losses import CrossEntropyLossFlat
from fastai.text.core import SpacyTokenizer, Tokenizer, WordTokenizer, defaults
from fastai.text.data import LMDataLoader, Numericalize, TensorText, TextBlock, TextDataLoaders
from conftest import TINY
from ulmfit_ext.classifier import classifier_learner, finetune_classifier
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.pieces import PieceTokenizer
from ulmfit_ext.data.tables import check_labels, read_table
from ulmfit_ext.data.samples import notes
from ulmfit_ext.ensemble import Ensemble
from ulmfit_ext.generate import generate
from ulmfit_ext.lm import finetune_lm, lm_learner, pretrain_lm, settings_of
from ulmfit_ext.models.weights import fastai_bundle, load_bundle
from ulmfit_ext.pipeline import ulmfit
from ulmfit_ext.train.checkpoint import Checkpoint
from ulmfit_ext.train.state import read_state, write_state
from ulmfit_ext.train.recipe import get_recipe
from ulmfit_ext.train.run import run_lock
from ulmfit_ext.train.unfreeze import gradual

CASES = {}
def case(what, error=ValueError):
    def _f(f):
        CASES[what] = f, error
        return f
    return _f

def changed(col, row, value):
    d = notes(40).astype(object)
    d.loc[row, col] = value
    return d

def lm(corpus, backwards=False): return lm_learner(corpus.lm_dls(bs=2, backwards=backwards), config=TINY)
def clas(corpus, backwards=False): return classifier_learner(corpus.clas_dls(backwards=backwards), config=TINY)
def corpus(n=40, **kw): return TextCorpus.from_df(notes(n), label_col='label', **kw)
def bundle(tmp, backwards=False): return lm(corpus(), backwards).save_bundle(tmp/'lm')

case('missing text column')(lambda tmp: ulmfit(notes(40), text_col='review'))
case('missing label column')(lambda tmp: ulmfit(notes(40), label_col='stars'))
case('a learner where a pretrained model is named')(lambda tmp: ulmfit(notes(40), pretrained=lm(corpus())))
case('a vocabulary without xxunk first')(lambda tmp: corpus(vocab=['the', 'boat']))
case('unlabelled texts as a dictionary', TypeError)(lambda tmp: ulmfit(notes(40), unlabeled=dict(text=['the boat left'])))
case('a missing label among several')(lambda tmp: ulmfit(notes(40).assign(label=[['sea', None]]*40)))
case('several labels of two types')(lambda tmp: ulmfit(notes(40).assign(label=[['sea', 1]]*40)))
case('an infinite number')(lambda tmp: ulmfit(notes(40).assign(label=[.5, np.inf]*20)))
case('a slice of rates')(lambda tmp: finetune_lm(corpus().lm_dls(2), None, lr=slice(1e-3, 1e-2), config=TINY))
case('loaders for training alone')(lambda tmp: finetune_lm(DataLoaders(corpus().lm_dls(2).train), None, config=TINY))
case('no streams')(lambda tmp: corpus().lm_dls(bs=0))
case('no rows')(lambda tmp: ulmfit(notes(40)[:0]))
case('NaN text')(lambda tmp: ulmfit(changed('text', 3, np.nan)))
case('empty text')(lambda tmp: ulmfit(changed('text', 3, '  ')))
case('NaN label')(lambda tmp: ulmfit(changed('label', 3, None)))
case('empty label')(lambda tmp: ulmfit(changed('label', 3, '')))
case('labels of two types')(lambda tmp: ulmfit(changed('label', 3, 1)))
case('a single class')(lambda tmp: ulmfit(notes(40).assign(label='sea')))
case('a class with one document')(lambda tmp: ulmfit(changed('label', 3, 'air')))
case('text column of numbers', TypeError)(lambda tmp: ulmfit(notes(40).assign(text=range(40))))
case('numbers among the texts', TypeError)(lambda tmp: ulmfit(changed('text', 3, 7)))
case('missing text column in the unlabeled data')(lambda tmp: ulmfit(notes(40), unlabeled=notes(5).rename(columns={'text':'txt'})))
case('valid_pct that leaves nothing')(lambda tmp: ulmfit(notes(40), valid_pct=.001))
case('valid_pct of everything')(lambda tmp: ulmfit(notes(40), valid_pct=1.))
case('a blank that says nothing of validation')(lambda tmp: ulmfit(notes(40).assign(v=[True, False, None, False]*10), valid_col='v'))
case('validation in words')(lambda tmp: ulmfit(notes(40).assign(v=['True', 'False']*20), valid_col='v'))
case('regression on words')(lambda tmp: ulmfit(notes(40), regression=True))
case('regression on several columns')(lambda tmp: ulmfit(notes(40).assign(a=0, b=1), label_col=['a', 'b'], regression=True))
case('0 and 1 in words')(lambda tmp: ulmfit(notes(40).assign(a=['0', '1']*20, b='0'), label_col=['a', 'b']))
case('the name of a file as unlabeled texts', TypeError)(lambda tmp: ulmfit(notes(40), unlabeled='more.csv'))
case('no epochs')(lambda tmp: finetune_classifier(corpus().clas_dls(), None, config=TINY, epochs=0))
case('a corpus in place of DataLoaders', TypeError)(lambda tmp: finetune_lm(corpus()))
case('a classifier\'s DataLoaders for a language model')(lambda tmp: finetune_lm(corpus().clas_dls(), None, config=TINY))
case('data that is no Datasets')(lambda tmp: finetune_lm(lists(notes(99))))
case('dropout among the sizes')(lambda tmp: finetune_classifier(corpus().clas_dls(), None, config=dict(TINY, output_p=.1)))
case('sizes that are not the encoder\'s')(lambda tmp: finetune_classifier(corpus().clas_dls(), lm(corpus()), config=dict(n_hid=99)))
case('weights of classes in a loss and beside it')(lambda tmp: finetune_classifier(corpus().clas_dls(), None, config=TINY, loss_func=CrossEntropyLossFlat(), class_weights='balanced'))
case('unknown weights of classes')(lambda tmp: finetune_classifier(corpus().clas_dls(), None, config=TINY, class_weights='equal'))
case('a class without a weight')(lambda tmp: finetune_classifier(corpus().clas_dls(), None, config=TINY, class_weights=dict(sea=1.)))
case('backwards=True for data that reads forward')(lambda tmp: pretrain_lm(corpus().lm_dls(2), backwards=True, config=TINY))
case('embeddings of another language')(lambda tmp: pretrain_lm(corpus(lang='xx').lm_dls(2), embeddings=bundle(tmp), config=TINY))
case('embeddings of a classifier')(lambda tmp: pretrain_lm(corpus().lm_dls(2), embeddings=clas(corpus()).bundle(), config=TINY))
case('models of different splits in different words')(lambda tmp: Ensemble(clas(corpus(seed=1)), clas(corpus(seed=2, vocab=[*corpus().vocab[:2], *sorted(corpus().vocab[2:], reverse=True)]), True)))
case('another number of labels than of texts')(lambda tmp: Ensemble(clas(corpus())).evaluate(['a text', 'another'], ['sea']))
case('a confusion matrix of numbers')(lambda tmp: Ensemble(clas(TextCorpus.from_df(notes(40).assign(label=np.linspace(0, 1, 40)), label_col='label'))).plot_confusion())
case('writing without temperature')(lambda tmp: generate(lm(corpus()), temperature=0))
case('writing with a classifier')(lambda tmp: generate(clas(corpus()).bundle()))
case('a recipe without a phase')(lambda tmp: get_recipe(written(tmp/'r.json', b'{"name": "short", "lm": {}, "clas": {}}')))
case('valid_col of nothing')(lambda tmp: ulmfit(notes(40).assign(v=False), valid_col='v'))
case('unknown recipe')(lambda tmp: ulmfit(notes(40), recipe='papper'))
case('unknown pretrained name')(lambda tmp: ulmfit(notes(40), pretrained='wt1003'))
case('unknown direction')(lambda tmp: ulmfit(notes(40), backwards='left'))
case('unknown precision')(lambda tmp: ulmfit(notes(40), precision='fp8'))
case('unknown schedule')(lambda tmp: ulmfit(notes(40), recipe=get_recipe('paper').replace(pre=dict(schedule='linear')), pretrained=None, config=TINY))
case('unknown hyper-parameter in a recipe')(lambda tmp: get_recipe_from(tmp, dict(lm=dict(learning_rate=1))))
case('unknown language')(lambda tmp: ulmfit(notes(40), lang='klingon'))
case('config that is not the pretrained model\'s')(lambda tmp: finetune_lm(corpus().lm_dls(2), bundle(tmp), config=dict(emb_sz=99)))
case('pretrained model of the other direction')(lambda tmp: finetune_lm(corpus().lm_dls(2), bundle(tmp, True)))
case('pretrained model of another language')(lambda tmp: finetune_lm(TextCorpus.from_df(pd.DataFrame(dict(text=[chr(1000+i%60)*3+' '+chr(1100+i%50)*3 for i in range(999)]))).lm_dls(2), bundle(tmp)))
case('encoder of the other direction')(lambda tmp: finetune_classifier(corpus().clas_dls(backwards=True), lm(corpus())))
case('vocabulary of the same size in another order')(lambda tmp: finetune_classifier(corpus(vocab=[*corpus().vocab[:2], *sorted(corpus().vocab[2:])]).clas_dls(), lm(corpus())))
case('vocabulary without padding in its place')(lambda tmp: finetune_classifier(corpus(vocab=sorted(corpus().vocab, reverse=True)).clas_dls(), lm(corpus()), remap=True))
case('a classifier as encoder')(lambda tmp: finetune_classifier(corpus().clas_dls(), clas(corpus()).bundle()))
case('text reversed, but not by fastai')(lambda tmp: finetune_lm(raw_dls(notes(60).assign(text=lambda d: d.text+' xxbos'))))
case('corpus too small for one batch')(lambda tmp: finetune_lm(TextCorpus.from_df(notes(5), valid_pct=.4).lm_dls(bs=64)))
case('stock loader without a batch')(lambda tmp: finetune_lm(TextDataLoaders.from_df(notes(20), text_col='text', is_lm=True, bs=64), None))
case('fastai\'s weight decay for L2')(lambda tmp: finetune_lm(corpus().lm_dls(2), None, config=TINY, wd=.1))
case('momenta that the schedule ignores')(lambda tmp: finetune_classifier(corpus().clas_dls(), lm(corpus()), moms=(.8, .7, .8)))
case('a learner of the other direction')(lambda tmp: finetune_lm(corpus().lm_dls(2, backwards=True), lm(corpus())))
case('no labels for a classifier')(lambda tmp: TextCorpus.from_df(notes(40)).clas_dls())
case('forward and backward model swapped')(lambda tmp: Ensemble(clas(corpus(), True), clas(corpus())))
case('models of different splits')(lambda tmp: Ensemble(clas(corpus(seed=1)), clas(corpus(seed=2), True)))
case('models of different labels')(lambda tmp: Ensemble(clas(corpus()), clas(TextCorpus.from_df(notes(40).replace('sea', 'ocean'), label_col='label'), True)))
case('one text in place of a list', TypeError)(lambda tmp: Ensemble(clas(corpus())).predict('a text'))
case('an unknown label to test on')(lambda tmp: Ensemble(clas(corpus())).evaluate(['a text'], ['air']))
case('existing run folder', FileExistsError)(lambda tmp: ulmfit(notes(40), run_dir=full(tmp/'run')))
case('existing bundle', FileExistsError)(lambda tmp: lm(corpus()).save_bundle(full(tmp/'lm')))
case('existing export folder', FileExistsError)(lambda tmp: Ensemble(clas(corpus())).export(full(tmp/'model')))
case('missing file', FileNotFoundError)(lambda tmp: read_table(tmp/'none.csv'))
case('unreadable encoding')(lambda tmp: read_table(written(tmp/'a.csv', 'label,text\npos,caf\xe9\n'.encode('latin-1'))))
case('empty file')(lambda tmp: read_table(written(tmp/'a.csv', b'')))
case('broken csv')(lambda tmp: read_table(written(tmp/'a.csv', b'a,b\n1,2,3,4\n1,2\n1,2,3,4,5\n')))
case('rows with more cells than the header')(lambda tmp: read_table(written(tmp/'a.csv', b'text,label\none, two,sea\nthree,four,land\n')))
case('the same in a file among many')(lambda tmp: TextCorpus.from_files([written(tmp/'a.csv', b'text,source\none, two,web\n')]))
case('JSON that is no lines of it')(lambda tmp: read_table(written(tmp/'a.json', b'[{"text": "one"}]')))
case('broken jsonl')(lambda tmp: read_table(written(tmp/'a.jsonl', b'{"text": ')))
case('broken parquet')(lambda tmp: read_table(written(tmp/'a.parquet', b'PAR2')))
case('broken gzip', (ValueError, OSError))(lambda tmp: read_table(written(tmp/'a.csv.gz', b'not gzip')))
case('parquet without a package for it')(lambda tmp: without_pyarrow(lambda: read_table(written(tmp/'a.parquet', b'PAR1'))))
case('a broken file among many')(lambda tmp: TextCorpus.from_files([written(tmp/'a.txt', b'all well'), written(tmp/'b.csv', b'text\ncaf\xe9\n')]))
case('unknown ending')(lambda tmp: read_table(written(tmp/'a.xlsx', b'')))
case('times as labels')(lambda tmp: ulmfit(notes(40).assign(label=pd.to_datetime(['2020-01-01', '2021-01-01']*20))))
case('several text columns', TypeError)(lambda tmp: ulmfit(notes(40), text_col=['text', 'label']))
case('two columns of one name')(lambda tmp: ulmfit(pd.concat([notes(40), notes(40)[['text']]], axis=1)))
case('both vocabularies of a classifier\'s data', TypeError)(lambda tmp: corpus(vocab=corpus().clas_dls().vocab))
case('a table in place of a list', TypeError)(lambda tmp: Ensemble(clas(corpus())).predict(notes(4)))
case('a splitter')(lambda tmp: finetune_classifier(corpus().clas_dls(), None, config=TINY, splitter=lambda m: [list(m.parameters())]))
case('a range of answers upside down')(lambda tmp: finetune_classifier(corpus().clas_dls(), None, config=TINY, y_range=(5, 1)))
case('a cut for each of other stages')(lambda tmp: clas(corpus()).fit_stages(gradual(5, .01), cut_frac=[.1, .1]))
case('a million empty rows')(lambda tmp: ulmfit(pd.DataFrame(dict(text=['']*1_000_000, label=['sea', 'land']*500_000))))
case('numbers and their names as labels')(lambda tmp: ulmfit(notes(40).assign(label=[1, '1']*20)))
case('going on without a folder')(lambda tmp: ulmfit(notes(40), resume=True))
case('going on with another recipe')(lambda tmp: go_on(tmp, notes(40), recipe='scripts'))
case('going on with other texts')(lambda tmp: go_on(tmp, notes(40, 1)))
case('going on with other labels')(lambda tmp: go_on(tmp, notes(40).replace('sea', 'ocean')))
case('going on with another seed')(lambda tmp: go_on(tmp, notes(40), seed=1))
case('going on with a damaged run.json')(lambda tmp: go_on(tmp, notes(40), damage=lambda d: (d/'run.json').write_text('{"phase"')))
case('two runs in one folder', BlockingIOError)(lambda tmp: locked(tmp))
case('a checkpoint cut short')(lambda tmp: read_state(written(tmp/'c.safetensors', state(tmp)[:-20])))
case('a pickle in place of a checkpoint')(lambda tmp: read_state(written(tmp/'c.safetensors', pickle.dumps(dict(x=1)))))
case('a checkpoint that is there already', FileExistsError)(lambda tmp: Checkpoint(written(tmp/'c.safetensors', state(tmp))))
case('a bundle cut short')(lambda tmp: forged(tmp, 'model.safetensors', lambda b: b[:-8]))
case('a bundle with changed weights')(lambda tmp: forged(tmp, 'model.safetensors', lambda b: b[:-1]+bytes([b[-1]^1])))
case('a language model of another language')(lambda tmp: finetune_lm(corpus(lang='xx').lm_dls(2), bundle(tmp)))
case('a pretrained model of another language than the table')(lambda tmp: ulmfit(notes(40), pretrained=bundle(tmp), backwards=False, lang='de'))
case('an encoder of another language')(lambda tmp: finetune_classifier(corpus(lang='xx', vocab=corpus().vocab).clas_dls(), bundle(tmp)))
case('a language that spaCy cuts in another way')(lambda tmp: ulmfit(notes(40), lang='zh'))
case('going on where the same bits were not insisted on')(lambda tmp: go_on(tmp, notes(40), deterministic=True))
case('a folder without texts', FileNotFoundError)(lambda tmp: TextCorpus.from_files(tmp))
case('a pickle in place of weights')(lambda tmp: forged(tmp, 'model.safetensors', lambda b: pickle.dumps(dict(x=1))))
case('a bundle with other words')(lambda tmp: forged(tmp, 'vocab.json', lambda b: b.replace(b'"xxunk"', b'"xxunx"')))
case('a bundle of a later format')(lambda tmp: forged(tmp, 'config.json', lambda b: b.replace(b'"format": 1', b'"format": 2')))
case('a bundle that says it is larger')(lambda tmp: forged(tmp, 'config.json', lambda b: b.replace(b'"n_hid": 24', b'"n_hid": 2400000')))
case('a bundle of nothing but brackets')(lambda tmp: forged(tmp, 'vocab.json', lambda b: b'['*10**6))
case('an enormous configuration')(lambda tmp: forged(tmp, 'config.json', lambda b: b+b' '*2**24))
case('a bundle with a link out of it')(lambda tmp: linked(tmp))
case('a folder that is no bundle', FileNotFoundError)(lambda tmp: load_bundle(tmp))
case('a vocabulary that is a program')(lambda tmp: fastai_archive(tmp, pickle.dumps(print)))
case('a .pth that is a program')(lambda tmp: fastai_archive(tmp, pickle.dumps(['a']), pickle.dumps(print)))

SAYS = {'rows with more cells than the header':'more cells than the header', 'the same in a file among many':"a.csv' can't be read: rows have more cells", 'JSON that is no lines of it':'line 1 is a list', 'parquet without a package for it':'pip install pyarrow', 'a broken file among many':'b.csv', 'a recipe without a phase':"lacks 'pre'", 'a blank that says nothing of validation':'10 of 40 rows', '0 and 1 in words':'40 of 40 rows', 'a million empty rows':'1000000 of 1000000 rows', 'going on with another recipe':"has recipe.", 'going on with other texts':'has corpus', 'going on with other labels':'has classes',
        'going on with another seed':'has seed 42', 'going on with a damaged run.json':'run.json', 'two runs in one folder':'another run', 'a bundle with changed weights':'sha256', 'a bundle with other words':'vocab.json',
        'a bundle of a later format':'format 2', 'a bundle that says it is larger':'shape', 'an enormous configuration':'bytes', 'a bundle with a link out of it':'link', 'a vocabulary that is a program':'builtins.print',
        'going on where the same bits were not insisted on':'has deterministic None', 'a language model of another language':"as 'en'", 'an encoder of another language':"as 'en'", 'a pretrained model of another language than the table':"as 'de': use"}
PASSED = {k:[f'{t} {i}' for i in range(4)] for k, t in {'NUL bytes':'nul \x00 byte', 'half surrogates':'half \ud83d pair', 'right to left':'שלום עולם \u202ertl', 'emoji':'🙂'*1000, 'texts of 10 MB':'x'*10_000_000}.items()}
PASSED['documents in both parts'] = ['the same text']*4

def raw_dls(df):
    "Stock data from text that is taken as it is"
    block = DataBlock(TextBlock.from_df('text', is_lm=True, seq_len=8, rules=[]), get_x=ColReader('text'), splitter=RandomSplitter(seed=1))
    return block.dataloaders(df, bs=4, seq_len=8)

def lists(df):
    "fastai's `TfmdLists` of texts"
    tok = Tokenizer(WordTokenizer())
    return TfmdLists(df.text.tolist(), [tok, Numericalize(list(corpus().vocab))], splits=[range(80), range(80, 99)], dl_type=LMDataLoader).dataloaders(bs=2, seq_len=8)

def without_pyarrow(f):
    with mock.patch('pandas.read_parquet', side_effect=ImportError("Unable to find a usable engine; tried using: 'pyarrow'.\nIt is not there.")): f()

def written(path, data):
    path.write_bytes(data)
    return path

def full(path):
    path.mkdir()
    (path/'precious.txt').write_text('mine')
    return path

def go_on(tmp, df, damage=None, **kwargs):
    "A run that is interrupted at once, and gone on with in another way"
    class Begun(Exception): pass
    with mock.patch('fastai.learner.Learner.fit', side_effect=Begun), pytest.raises(Begun): ulmfit(notes(40), run_dir=tmp/'run', pretrained=None, config=TINY, valid_pct=.3)
    assert (tmp/'run'/'run.json').exists()
    if damage is not None: damage(tmp/'run')
    ulmfit(df, run_dir=tmp/'run', pretrained=None, config=TINY, valid_pct=.3, resume=True, **kwargs)

def locked(tmp):
    with run_lock(tmp/'run'): ulmfit(notes(40), run_dir=tmp/'run', pretrained=None, config=TINY)

def state(tmp):
    write_state(tmp/'whole', dict(x=np.arange(9)))
    return (tmp/'whole').read_bytes()

def forged(tmp, name, change):
    file = bundle(tmp)/name
    assert (new := change(file.read_bytes()))!=file.read_bytes()
    file.write_bytes(new)
    load_bundle(tmp/'lm')

def linked(tmp):
    (tmp/'b').mkdir()
    for f in bundle(tmp).iterdir(): (tmp/'b'/f.name).symlink_to(f)
    load_bundle(tmp/'b')

def fastai_archive(tmp, vocab, weights=b''):
    written(tmp/'v.pkl', vocab)
    written(tmp/'w.pth', weights)
    import torch
    if not weights: torch.save({'0.encoder.weight':torch.zeros(1, 4), '0.rnns.0.weight_hh_l0_raw':torch.zeros(16, 4)}, tmp/'w.pth')
    fastai_bundle(tmp, 'fwd')

def said_of(texts):
    "What a user is told of texts that pass"
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always')
        c = TextCorpus.from_df(pd.DataFrame(dict(text=texts), dtype=object), valid_pct=.25, min_freq=1)
    assert len(c)==len(texts) and (c.lens>1).all()
    return [str(o.message) for o in w if o.category is UserWarning]

def get_recipe_from(tmp, changes):
    d = json.loads(get_recipe('paper').to_json())
    for k, v in changes.items(): d[k] |= v
    written(tmp/'r.json', json.dumps(d).encode())
    return get_recipe(tmp/'r.json')


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args, **kwargs): raise AssertionError('training has started')
    monkeypatch.setattr('fastai.learner.Learner.fit', fit)


@pytest.mark.parametrize('what', CASES)
def test_one_sentence(what, tmp_path, no_training):
    f, error = CASES[what]
    with pytest.raises(error) as e: f(tmp_path)
    message = str(e.value)
    assert len(message)>30 and '\n' not in message, message
    if what in SAYS: assert SAYS[what] in message, message
    for p in tmp_path.rglob('precious.txt'): assert p.read_text()=='mine' and len(list(p.parent.iterdir()))==1


@pytest.mark.parametrize('what', PASSED)
def test_odd_texts_pass(what):
    said = said_of(PASSED[what])
    assert ['stand in the training part too' in s for s in said]==[True]*(what=='documents in both parts')


if __name__=='__main__':
    import tempfile
    from pathlib import Path
    warnings.simplefilter('ignore')
    for what, (f, error) in CASES.items():
        tmp = tempfile.mkdtemp()
        try: f(Path(tmp))
        except (ValueError, TypeError, OSError) as e: print(f"| {what} | {str(e).replace(tmp, '')} |")
    for what, texts in PASSED.items(): print(f"| {what} | passes{''.join('; a warning: '+s for s in said_of(texts))} |")


def first_words(x): return x[:4]
class Stems(SpacyTokenizer):
    def __call__(self, items): return ([t[:3] for t in o] for o in super().__call__(items))
def cut_at_a():
    tok = SpacyTokenizer('en')
    tok.pipe.__self__.tokenizer.infix_finditer = re.compile('a').finditer
    return tok

@pytest.mark.parametrize('kw', [dict(rules=[str.lower]), dict(tok=SpacyTokenizer('en', special_toks=[*defaults.text_spec_tok, '<user>'])), dict(tok=Stems('en')), dict(tok=cut_at_a())],
                         ids=['rules of one\'s own', 'more special tokens', 'another class', 'other cuts'])
def test_a_tokenizer_that_bundles_cant_name_is_not_named(kw, tmp_path):
    "A model with such a tokenizer is refused where it would be read, rather than answer on other tokens than it was trained on"
    def dls(**o): return DataBlock(blocks=TextBlock.from_df('text', seq_len=8, **kw, **o) if o else (TextBlock.from_df('text', **kw), CategoryBlock), get_x=ColReader('text'),
                                   **({} if o else dict(get_y=ColReader('label'))), splitter=RandomSplitter(seed=1)).dataloaders(notes(60), bs=8)
    assert lm_learner(dls(is_lm=True), None, config=TINY).bundle_config['tokenizer'] is None
    learn = classifier_learner(dls(), None, config=TINY)
    with pytest.raises(ValueError, match='does not say how'): Ensemble(learn).export(tmp_path/'model')
    assert not (tmp_path/'model').exists()


@pytest.mark.parametrize('how', ['as it is', 'our tokenizer', 'loaded again', 'an item transform', 'a type transform', 'for training alone', 'on a corpus'])
def test_transforms_that_bundles_cant_name(how, tmp_path):
    "What changes the tokens of new texts can't be made again from a bundle; fastai's tokenizer as it comes, and ours, can"
    more = Transform(first_words) # of every part of an item, so that labels are not cut
    class Cut(Transform):
        split_idx = 0 if how=='for training alone' else None
        def encodes(self, x:TensorText): return x[:4]
    block = TextBlock.from_df('text', **(dict(tok=PieceTokenizer()) if how=='our tokenizer' else {}))
    if how=='a type transform': block.type_tfms = [*block.type_tfms, more]
    dls = DataBlock(blocks=(block, CategoryBlock), get_x=ColReader('text'), get_y=ColReader('label'), splitter=RandomSplitter(seed=1),
                    item_tfms=[Cut()] if how in ('an item transform', 'for training alone') else None).dataloaders(notes(60), bs=8)
    if how=='on a corpus':
        dls = corpus(60).clas_dls(8)
        for dl in dls.loaders: dl.after_item = Pipeline([Cut()])
    if how=='loaded again':
        Learner(dls, torch.nn.Linear(1, 1), loss_func=noop, path=tmp_path).export()
        dls = load_learner(tmp_path/'export.pkl').dls
    assert (settings_of(dls) is None)==(how in ('an item transform', 'a type transform', 'on a corpus'))
