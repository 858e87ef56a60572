"Each wrong input gets one sentence before anything is trained or written. `python tests/test_bad_input.py` prints them all."
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
from ulmfit_ext.data.tables import read_table
from ulmfit_ext.data.corpus import TextCorpus
from ulmfit_ext.data.loaders import settings_of
from ulmfit_ext.data.samples import notes
from ulmfit_ext.data.tokenize import PieceTokenizer
from ulmfit_ext.ensemble import Ensemble
from ulmfit_ext.one_call import ulmfit
from ulmfit_ext.infer.predict import load_predictor
from ulmfit_ext.lm import finetune_lm, generate, lm_learner, pretrain_lm
from ulmfit_ext.models.bundle import fastai_bundle, load_bundle
from ulmfit_ext.train.precision import AutoPrecision
from ulmfit_ext.train.recipe import get_recipe
from ulmfit_ext.train.run import open_run, read_checkpoint, write_checkpoint
from ulmfit_ext.train.unfreeze import gradual

SMALL = dict(pretrained=None, lm_kwargs=dict(config=TINY), progress=False)
GROUPS = {}

def with_cell(col, value):
    d = notes(40).astype(object)
    d.loc[3, col] = value
    return d

def corpus(n=40, **kw): return TextCorpus.from_df(notes(n), label_col='label', **kw)
def lm(c=None, backwards=False): return lm_learner((c or corpus()).lm_dls(bs=2, backwards=backwards), config=TINY)
def clas(c=None, backwards=False): return classifier_learner((c or corpus()).clas_dls(backwards=backwards), config=TINY)
def bundle(tmp, backwards=False): return lm(backwards=backwards).save_bundle(tmp/'lm')
def lm_dls(bs=2, **kw): return corpus(**kw).lm_dls(bs)
def tune(encoder=None, c=None, config=TINY, **kw): return finetune_classifier((c or corpus()).clas_dls(), encoder, config=config, **kw)
def labels(*o): return notes(40).assign(label=(list(o)*40)[:40])
def reordered(): return corpus(vocab=[*corpus().vocab[:2], *sorted(corpus().vocab[2:])])

# name: (what the sentence says, what is done), where `t` is an empty folder
GROUPS['table'] = {
    'missing text column': ("no column 'review': it has", lambda t: ulmfit(notes(40), text_col='review')),
    'missing label column': ("no column 'stars': it has", lambda t: ulmfit(notes(40), label_col='stars')),
    'no rows': ("has no rows", lambda t: ulmfit(notes(40)[:0])),
    'NaN text': ("holds nan in place of a text in 1 of 40 rows, the first is row 3", lambda t: ulmfit(with_cell('text', np.nan))),
    'empty text': ("in place of a text in 1 of 40 rows", lambda t: ulmfit(with_cell('text', '  '))),
    'a million empty texts': ("1000000 of 1000000 rows", lambda t: ulmfit(pd.DataFrame(dict(text=['']*1_000_000, label=['sea', 'land']*500_000)))),
    'text column of numbers': ("holds int64: expected text", lambda t: ulmfit(notes(40).assign(text=range(40)))),
    'a number among the texts': ("holds 7 in place of a text", lambda t: ulmfit(with_cell('text', 7))),
    'several text columns': ("join several into one", lambda t: ulmfit(notes(40), text_col=['text', 'label'])),
    'two columns of one name': ("rename all but one", lambda t: ulmfit(pd.concat([notes(40), notes(40)[['text']]], axis=1))),
    'unlabelled data without the text column': ("the unlabeled data has no column 'text'", lambda t: ulmfit(notes(40), unlabeled=notes(5).rename(columns={'text':'txt'}))),
    'unlabelled texts as a dictionary': ("unlabeled is a dict", lambda t: ulmfit(notes(40), unlabeled=dict(text=['the boat left']))),
    'a file name as unlabelled texts': ("read a file with read_table", lambda t: ulmfit(notes(40), unlabeled='more.csv')),
    'valid_pct too small': ("leaves 0 for validation", lambda t: ulmfit(notes(40), valid_pct=.001)),
    'valid_pct of everything': ("0 for training", lambda t: ulmfit(notes(40), valid_pct=1.)),
    'missing cells in valid_col': ("not True or False in 10 of 40 rows", lambda t: ulmfit(notes(40).assign(v=[True, False, None, False]*10), valid_col='v')),
    'words in valid_col': ("not True or False", lambda t: ulmfit(notes(40).assign(v=['True', 'False']*20), valid_col='v')),
    'valid_col that marks nothing': ("marks 0 of 40", lambda t: ulmfit(notes(40).assign(v=False), valid_col='v')),
    'missing file': ("there is no file", lambda t: read_table(t/'none.csv')),
    'wrong encoding': ("name its encoding", lambda t: read_table(written(t/'a.csv', 'label,text\npos,caf\xe9\n'.encode('latin-1')))),
    'empty file': ("expected a header and rows", lambda t: read_table(written(t/'a.csv', b''))),
    'broken CSV': ("can't be read", lambda t: read_table(written(t/'a.csv', b'a,b\n1,2,3,4\n1,2\n1,2,3,4,5\n'))),
    'more cells than the header': ("more cells than the header", lambda t: read_table(written(t/'a.csv', b'text,label\none, two,sea\nthree,four,land\n'))),
    'the same, one file of many': ("a.csv' can't be read as csv in utf-8: rows have more cells", lambda t: TextCorpus.from_files([written(t/'a.csv', b'text,source\none, two,web\n')])),
    'JSON that is not lines': ("no column 'text': it has [0]", lambda t: ulmfit(read_table(written(t/'a.json', b'[{"text": "one"}]')))),
    'broken JSON lines': ("can't be read as jsonl", lambda t: read_table(written(t/'a.jsonl', b'{"text": '))),
    'broken parquet': ("can't be read", lambda t: read_table(written(t/'a.parquet', b'PAR2'))),
    'broken gzip': ("can't be read", lambda t: read_table(written(t/'a.csv.gz', b'not gzip'))),
    'parquet without pyarrow': ("pip install pyarrow", lambda t: without_pyarrow(lambda: read_table(written(t/'a.parquet', b'PAR1')))),
    'one broken file of many': ("b.csv' can't be read as csv in utf-8: name its encoding", lambda t: TextCorpus.from_files([written(t/'a.txt', b'all well'), written(t/'b.csv', b'text\ncaf\xe9\n')])),
    'unknown ending': ("ends in .xlsx", lambda t: read_table(written(t/'a.xlsx', b''))),
    'folder without texts': ("no files to train on", lambda t: TextCorpus.from_files(t)),
}
GROUPS['labels'] = {
    'NaN label': ("missing (NaN) in 1 of 40 rows", lambda t: ulmfit(with_cell('label', None))),
    'empty label': ("empty in 1 of 40 rows", lambda t: ulmfit(with_cell('label', ''))),
    'labels of two types': ("mix int and str", lambda t: ulmfit(with_cell('label', 1))),
    'numbers and their names': ("mix int and str", lambda t: ulmfit(labels(1, '1'))),
    'a single class': ("are all 'sea'", lambda t: ulmfit(labels('sea'))),
    'names for labels': ("38 of 39 classes of the data have a single document", lambda t: TextCorpus.from_df(notes(40).assign(label=[*range(39), 0]), label_col='label')),
    'dates': ("of type Timestamp", lambda t: ulmfit(labels(*pd.to_datetime(['2020-01-01', '2021-01-01'])))),
    'a missing label in a list': ("of type NoneType", lambda t: ulmfit(labels(['sea', None]))),
    'lists of two types': ("mix int and str", lambda t: ulmfit(labels(['sea', 1]))),
    'an infinite number': ("not all finite numbers", lambda t: ulmfit(labels(.5, np.inf))),
    'regression on words': ("expected numbers for regression", lambda t: ulmfit(notes(40), regression=True)),
    'regression on several columns': ("regression expects one number", lambda t: ulmfit(notes(40).assign(a=0, b=1), label_col=['a', 'b'], regression=True)),
    '0 and 1 as words': ("not 0 and 1 in 40 of 40 rows", lambda t: ulmfit(notes(40).assign(a=['0', '1']*20, b='0'), label_col=['a', 'b'])),
    'no labels for a classifier': ("give label_col", lambda t: TextCorpus.from_df(notes(40)).clas_dls()),
    'an unknown label to test on': ("label 'air' was not trained on", lambda t: Ensemble(clas()).report(['a text'], ['air'])),
    'fewer labels than texts': ("2 texts and 1 labels", lambda t: Ensemble(clas()).report(['a text', 'another'], ['sea'])),
}
GROUPS['options'] = {
    'unknown recipe': ("no recipe 'papper'", lambda t: ulmfit(notes(40), recipe='papper')),
    'recipe without a phase': ("expected name, lm, clas and pre", lambda t: get_recipe(written(t/'r.json', b'{"name": "short", "lm": {}, "clas": {}}'))),
    'unknown hyper-parameter in a recipe': ("learning_rate", lambda t: recipe_with(t, dict(lm=dict(learning_rate=1)))),
    'unknown schedule': ("schedule is 'linear'", lambda t: get_recipe('paper').replace(pre=dict(schedule='linear'))),
    'unknown formula': ("formula is 'safe'", lambda t: get_recipe('paper').replace(lm=dict(formula='safe'))),
    'unknown keep': ("keep is 'first'", lambda t: get_recipe('paper').replace(lm=dict(keep='first'))),
    'unknown direction': ("backwards is 'left'", lambda t: ulmfit(notes(40), backwards='left')),
    'unknown precision': ("precision is 'fp8'", lambda t: AutoPrecision('fp8')),
    'unknown language': ("spaCy has no language 'klingon'", lambda t: ulmfit(notes(40), lang='klingon', **SMALL)),
    'a language with another kind of tokenizer': ("SentencePieceTokenizer", lambda t: ulmfit(notes(40), lang='zh', **SMALL)),
    'no epochs': ("epochs is 0", lambda t: tune(epochs=0)),
    'a slice of rates': ("expected the peak rate", lambda t: finetune_lm(lm_dls(), None, lr=slice(1e-3, 1e-2), config=TINY)),
    'a recipe for the classifier alone': ("unexpected keyword argument 'recipe'", lambda t: ulmfit(notes(40), clas_kwargs=dict(recipe='paper'), **SMALL)),
    'y_range upside down': ("expected the lowest and the highest", lambda t: tune(c=TextCorpus.from_df(labels(1, 2), label_col='label', regression=True), y_range=(5, 1))),
    'dropout in config': ("dropouts are the recipe's", lambda t: tune(config=dict(TINY, output_p=.1))),
    'class weights twice': ("both given", lambda t: tune(loss_func=CrossEntropyLossFlat(), class_weights='balanced')),
    'unknown class weights': ("class_weights is 'equal'", lambda t: tune(class_weights='equal')),
    'a class without a weight': ("none for 'land'", lambda t: tune(class_weights=dict(sea=1.))),
    'cut_frac for another number of stages': ("cut_frac has 2 values for 5 stages", lambda t: clas().fit_stages(gradual(5, .01), cut_frac=[.1, .1])),
    'wrong option for the classifier': ("class_weights is 'equal'", lambda t: ulmfit(notes(40), clas_kwargs=dict(class_weights='equal'), **SMALL)),
    'temperature 0': ("temperature is 0", lambda t: generate(lm(), temperature=0)),
}
GROUPS['data'] = {
    'a corpus in place of DataLoaders': ("got a TextCorpus", lambda t: finetune_lm(corpus())),
    'classifier data for a language model': ("the data has labels", lambda t: finetune_lm(corpus().clas_dls(), None, config=TINY)),
    'data that is not Datasets': ("not made of fastai Datasets", lambda t: finetune_lm(lists(notes(99)))),
    'loaders for training alone': ("a training part alone", lambda t: finetune_lm(DataLoaders(lm_dls().train), None, config=TINY)),
    'batch size 0': ("bs is 0", lambda t: lm_dls(bs=0)),
    'less text than a batch': ("too few for one batch of bs=64", lambda t: TextCorpus.from_df(notes(5), valid_pct=.4).lm_dls(bs=64)),
    'stock loader without a batch': ("does not fill one batch", lambda t: finetune_lm(TextDataLoaders.from_df(notes(20), text_col='text', is_lm=True, bs=64), None)),
    'text that was reversed by hand': ("xxbos comes last", lambda t: finetune_lm(raw_dls(notes(60).assign(text=lambda d: d.text+' xxbos')))),
    'vocabulary without xxunk first': ("vocab begins with", lambda t: corpus(vocab=['the', 'boat'])),
    'both vocabularies of a classifier': ("it is dls.vocab[0]", lambda t: corpus(vocab=corpus().clas_dls().vocab)),
    'vocabulary without padding in place 1': ("vocab begins with", lambda t: tune(lm(), corpus(vocab=sorted(corpus().vocab, reverse=True)), remap=True)),
    'one text in place of a list': ("got a str", lambda t: Ensemble(clas()).outputs('a text')),
    'a threshold for one label': ("the task is 'single'", lambda t: Ensemble(clas()).predict('a text', thresh=.3)),
    'a report on nothing': ("there are no texts", lambda t: Ensemble(clas()).report([], [])),
    'a table in place of a list': ("got a DataFrame", lambda t: Ensemble(clas()).predict(notes(4))),
}
GROUPS['weights'] = {
    'unknown pretrained name': ("no pretrained model 'wt1003'", lambda t: ulmfit(notes(40), pretrained='wt1003')),
    'a learner as a pretrained name': ("is a LMLearner", lambda t: ulmfit(notes(40), pretrained=lm())),
    'other sizes than the pretrained model': ("leave config out", lambda t: finetune_lm(lm_dls(), bundle(t), config=dict(emb_sz=99))),
    'other sizes than the encoder': ("leave config out", lambda t: tune(lm(), config=dict(n_hid=99))),
    'pretrained model of the other direction': ("reads bwd, the data fwd", lambda t: finetune_lm(lm_dls(), bundle(t, True))),
    'a learner of the other direction': ("reads fwd, the data bwd", lambda t: finetune_lm(corpus().lm_dls(2, backwards=True), lm())),
    'encoder of the other direction': ("reads fwd, the data bwd", lambda t: finetune_classifier(corpus().clas_dls(backwards=True), lm())),
    'a model that knows none of the words': ("of the data's words", lambda t: finetune_lm(TextCorpus.from_df(pd.DataFrame(dict(text=[chr(1000+i%60)*3+' '+chr(1100+i%50)*3 for i in range(999)]))).lm_dls(2), bundle(t))),
    'a model of another language': ("trained on 'en', the data is tokenised as 'xx'", lambda t: finetune_lm(lm_dls(lang='xx'), bundle(t))),
    'the same in one call': ("the data is said to be 'de'", lambda t: ulmfit(notes(40), pretrained=bundle(t), backwards=False, lang='de')),
    'an encoder of another language': ("trained on 'en'", lambda t: tune(bundle(t), corpus(lang='xx', vocab=corpus().vocab), config=None)),
    'embeddings of another language': ("the model of the embeddings was trained on 'en'", lambda t: pretrain_lm(lm_dls(lang='xx'), embeddings=bundle(t), config=TINY)),
    'embeddings of a classifier': ("is a 'classifier': expected 'lm'", lambda t: pretrain_lm(lm_dls(), embeddings=clas().bundle(), config=TINY)),
    'embeddings and a pretrained model': ("leave one out", lambda t: pretrain_lm(lm_dls(), embeddings=bundle(t), pretrained=t/'lm')),
    'a vocabulary in another order': ("the same words in another order", lambda t: tune(lm(), reordered(), config=None)),
    'a classifier to fine-tune as language model': ("is a 'classifier': expected 'lm'", lambda t: finetune_lm(lm_dls(), clas().bundle())),
    'writing with a classifier': ("is a 'classifier': expected 'lm'", lambda t: generate(clas().bundle())),
    'forward and backward swapped': ("Ensemble(forward, backward)", lambda t: Ensemble(clas(backwards=True), clas())),
    'models of different splits': ("validation document 0 is not the same", lambda t: Ensemble(clas(corpus(seed=1)), clas(corpus(seed=2), True))),
    'different splits and words': ("is not the same for both models", lambda t: Ensemble(clas(corpus(seed=1)), clas(corpus(seed=2, vocab=[*corpus().vocab[:2], *sorted(corpus().vocab[2:], reverse=True)]), True))),
    'models of different labels': ("expected the same classes", lambda t: Ensemble(clas(), clas(TextCorpus.from_df(notes(40).replace('sea', 'ocean'), label_col='label'), True))),
}
GROUPS['runs and files'] = {
    'existing run folder': ("exists and is not empty", lambda t: ulmfit(notes(40), run_dir=full(t/'run'))),
    'existing bundle': ("exists: name a new folder", lambda t: lm().save_bundle(full(t/'lm'))),
    'existing export folder': ("exists: name a new folder", lambda t: Ensemble(clas()).export(full(t/'model'))),
    'resume without a folder': ("without run_dir", lambda t: ulmfit(notes(40), resume=True)),
    'an unfinished run without resume': ("go on with it by resume=True", lambda t: resumed(t, notes(40), resume=False)),
    'resume with another recipe': ("has recipe.", lambda t: resumed(t, notes(40), recipe='scripts')),
    'resume with other texts': ("has corpus", lambda t: resumed(t, notes(40, 1))),
    'resume with other labels': ("has classes", lambda t: resumed(t, notes(40).replace('sea', 'ocean'))),
    'resume with another seed': ("has seed 42", lambda t: resumed(t, notes(40), seed=1)),
    'resume with a damaged run.json': ("run.json' is damaged", lambda t: resumed(t, notes(40), damage=lambda d: (d/'run.json').write_text('{"phase"'))),
    'two runs in one folder': ("another process is training", lambda t: locked(t)),
    'a checkpoint cut short': ("not a checkpoint", lambda t: read_checkpoint(written(t/'c', checkpoint(t)[:-20]))),
    'a pickle as checkpoint': ("not a checkpoint", lambda t: read_checkpoint(written(t/'c', pickle.dumps(dict(x=1))))),
    'a bundle cut short': ("is damaged", lambda t: forged(t, 'model.safetensors', lambda b: b[:-8])),
    'a bundle with changed weights': ("sha256", lambda t: forged(t, 'model.safetensors', lambda b: b[:-1]+bytes([b[-1]^1]))),
    'a pickle as weights': ("is damaged", lambda t: forged(t, 'model.safetensors', lambda b: pickle.dumps(dict(x=1)))),
    'a bundle with other words': ("vocab.json", lambda t: forged(t, 'vocab.json', lambda b: b.replace(b'"xxunk"', b'"xxunx"'))),
    'a bundle of a later format': ("get a newer version", lambda t: forged(t, 'config.json', lambda b: b.replace(b'"format": 1', b'"format": 2'))),
    'a bundle that says it is larger': ("has shape", lambda t: forged(t, 'config.json', lambda b: b.replace(b'"n_hid": 24', b'"n_hid": 2400000'))),
    'a bundle of brackets': ("is damaged", lambda t: forged(t, 'vocab.json', lambda b: b'['*10**6)),
    'an enormous configuration': ("bytes, more than", lambda t: forged(t, 'config.json', lambda b: b+b' '*2**24)),
    'a folder of a pair that is a link': ("link to another folder", lambda t: linked(t)),
    'whole numbers stored as floats': ("say regression=True for numbers", lambda t: ulmfit(labels(1., 2.))),
    'a quote that swallows rows': ("the row in line 3 don't match", lambda t: read_table(written(t/'a.csv', b'text,label\none,sea\n"two,land\nthree,sea\n'))),
    'y_range for classes': ("the targets are classes", lambda t: tune(y_range=(1, 5))),
    'class weights for numbers': ("class_weights are given, but the targets are numbers", lambda t: tune(c=TextCorpus.from_df(labels(1, 2), label_col='label', regression=True), class_weights='balanced')),
    'numbers without spread': ("expected finite numbers that differ", lambda t: ulmfit(labels(5, 5), regression=True)),
    'a recipe out of range': ("bs is 0: expected 1 to", lambda t: get_recipe('default').replace(lm=dict(bs=0))),
    'a folder without a bundle': ("is not a bundle", lambda t: load_bundle(t)),
    'a vocabulary that is a program': ("builtins.print", lambda t: fastai_archive(t, pickle.dumps(print))),
    'a .pth that is a program': ("can't be read as plain tensors", lambda t: fastai_archive(t, pickle.dumps(['a']), pickle.dumps(print))),
}
CASES = {k:v for g in GROUPS.values() for k, v in g.items()}
ODD_TEXTS = {k:[f'{t} {i}' for i in range(4)] for k, t in {'NUL bytes':'nul \x00 byte', 'lone surrogates':'half \ud83d pair', 'right to left':'שלום עולם \u202ertl', 'emoji':'🙂'*1000, 'texts of 1 MB':'x'*1_000_000}.items()}

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

def resumed(tmp, df, damage=None, resume=True, **kwargs):
    "A run that is interrupted at once, then resumed in another way"
    class Begun(Exception): pass
    with mock.patch('ulmfit_ext.one_call.finetune_lm', side_effect=Begun), mock.patch('ulmfit_ext.one_call.token_seconds', return_value=1e-3):
        with pytest.raises(Begun): ulmfit(notes(40), run_dir=tmp/'run', valid_pct=.3, **SMALL)
        assert (tmp/'run'/'run.json').exists()
        if damage is not None: damage(tmp/'run')
        ulmfit(df, run_dir=tmp/'run', valid_pct=.3, resume=resume, **SMALL, **kwargs)

def locked(tmp):
    with open_run(tmp/'run', get_recipe('paper')), open_run(tmp/'run', get_recipe('paper'), resume=True): pass

def checkpoint(tmp):
    write_checkpoint(tmp/'whole', dict(x=1), dict(model=dict(w=torch.arange(9.))))
    return (tmp/'whole').read_bytes()

def forged(tmp, name, change):
    file = bundle(tmp)/name
    assert (new := change(file.read_bytes()))!=file.read_bytes()
    file.write_bytes(new)
    load_bundle(tmp/'lm')

def linked(tmp):
    (tmp/'b').mkdir()
    (tmp/'b'/'fwd').symlink_to(bundle(tmp))
    load_predictor(tmp/'b')

def fastai_archive(tmp, vocab, weights=b''):
    written(tmp/'v.pkl', vocab)
    written(tmp/'w.pth', weights)
    if not weights: torch.save({'0.encoder.weight':torch.zeros(1, 4), '0.rnns.0.weight_hh_l0_raw':torch.zeros(16, 4)}, tmp/'w.pth')
    fastai_bundle(tmp, 'fwd')

def recipe_with(tmp, changes):
    d = json.loads(get_recipe('paper').to_json())
    for k, v in changes.items(): d[k] |= v
    return get_recipe(written(tmp/'r.json', json.dumps(d).encode()))


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args, **kwargs): raise AssertionError('training has started')
    monkeypatch.setattr('fastai.learner.Learner.fit', fit)


@pytest.mark.parametrize('what', CASES)
def test_one_sentence(what, tmp_path, no_training):
    says, f = CASES[what]
    with pytest.raises((ValueError, TypeError, OSError)) as e: f(tmp_path)
    message = str(e.value)
    assert says in message and '\n' not in message, message
    for p in tmp_path.rglob('precious.txt'): assert p.read_text()=='mine' and len(list(p.parent.iterdir()))==1


@pytest.mark.parametrize('what', ODD_TEXTS)
def test_odd_texts_pass(what):
    c = TextCorpus.from_df(pd.DataFrame(dict(text=ODD_TEXTS[what]), dtype=object), valid_pct=.25, min_freq=1)
    assert len(c)==4 and (c.lens>1).all()


def test_a_text_in_both_parts_gets_a_warning():
    with pytest.warns(UserWarning, match='also appear in the training set; their scores are optimistic'): TextCorpus.from_df(pd.DataFrame(dict(text=['the same text']*4)), valid_pct=.25)


def first_words(x): return x[:4]
class Stems(SpacyTokenizer):
    def __call__(self, items): return ([t[:3] for t in o] for o in super().__call__(items))
def cut_at_a():
    tok = SpacyTokenizer('en')
    tok.pipe.__self__.tokenizer.infix_finditer = re.compile('a').finditer
    return tok

@pytest.mark.parametrize('kw', [dict(rules=[str.lower]), dict(tok=SpacyTokenizer('en', special_toks=[*defaults.text_spec_tok, '<user>'])), dict(tok=Stems('en')), dict(tok=cut_at_a())],
                         ids=['rules of one\'s own', 'more special tokens', 'another class', 'other cuts'])
def test_a_tokenizer_that_a_bundle_cannot_describe(kw, tmp_path):
    "Saving is refused: the saved model would answer on other tokens than it was trained on"
    def dls(**o): return DataBlock(blocks=TextBlock.from_df('text', seq_len=8, **kw, **o) if o else (TextBlock.from_df('text', **kw), CategoryBlock), get_x=ColReader('text'),
                                   **({} if o else dict(get_y=ColReader('label'))), splitter=RandomSplitter(seed=1)).dataloaders(notes(60), bs=8)
    assert lm_learner(dls(is_lm=True), None, config=TINY).meta['tokenizer'] is None
    ens = Ensemble(classifier_learner(dls(), None, config=TINY))
    with pytest.raises(ValueError, match='does not say how'): ens.export(tmp_path/'model')
    assert not (tmp_path/'model').exists() and len(ens.predict(['a boat left', 'a cart']))==2 # in memory, its own tokenizer answers


@pytest.mark.parametrize('how', ['as it is', 'our tokenizer', 'loaded again', 'an item transform', 'a type transform', 'for training alone', 'on a corpus'])
def test_transforms_that_a_bundle_cannot_describe(how, tmp_path):
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


if __name__=='__main__':
    import tempfile
    from pathlib import Path
    warnings.simplefilter('ignore')
    for what, (_, f) in CASES.items():
        tmp = tempfile.mkdtemp()
        try: f(Path(tmp))
        except (ValueError, TypeError, OSError) as e: print(f"| {what} | {str(e).replace(tmp, '')} |")
