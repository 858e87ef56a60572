import time
import pandas as pd
from fastai.text.core import SpacyTokenizer, TokenizeWithRules, defaults
from hypothesis import given, settings, strategies as st

from ulmfit_ext.data.tokenize import Encoder, PieceTokenizer, clean, tokenize

STOCK, OURS = TokenizeWithRules(SpacyTokenizer()), TokenizeWithRules(PieceTokenizer(), rules=[clean, *defaults.text_proc_rules])
BY_PIECE = PieceTokenizer(rules=[clean, *defaults.text_proc_rules]) # the rules too are remembered by piece
RAW_STOCK, RAW_OURS = TokenizeWithRules(SpacyTokenizer(), rules=[]), TokenizeWithRules(PieceTokenizer(), rules=[])
same = lambda a, b, texts: [list(o) for o in a(texts)]==[list(o) for o in b(texts)]

words = st.lists(st.sampled_from(['so', 'so,', 'SO', 'so/', 'aaa', 'a', '3', '333', ':', '-', ')', "'", "n't", 'not', 'can', ' ', '\n', ' \n ', '/', '#Tag', 'A.', 'm.', '...', 'İΣ', 'a.', '!!!', '!!!a', 'no', 'nooo', '<br />', '\u3000', '&lt;', '3.']), max_size=14).map(' '.join)
english = st.text(alphabet=st.sampled_from("abcIT'nt.,!?-:;()/@#$%&*\"01 \n\t\x85\xa0\u2009\u3000é中🙂"), max_size=60)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=80), english, words, st.text(alphabet="'':)( .an", max_size=30)))
def test_any_text_has_fastais_tokens(text):
    assert same(STOCK, OURS, [text])
    assert same(STOCK, BY_PIECE, [text])
    assert same(RAW_STOCK, RAW_OURS, [text])


def test_hard_texts():
    texts = ['a '*50_000, '\x00\x01\x02', '🙂👨‍👩‍👧 ok', 'שלום עולם', ' \x85 \x85  ', '<br />'*1000, "can't won't I'm", ': ) :) (:', "aaa a a.", "!!!a a a.", "a a a", "no no nooo", "x <br />/ y", "x\n!!!\n \n###\n", "''Empire strikes back'' ''Return ''", "do n't ' ' we 've", 'http://a.b/c?d=e', '']
    assert same(STOCK, OURS, texts)
    assert same(STOCK, BY_PIECE, texts)


def test_real_reviews(data_folder):
    texts = pd.read_csv(f'{data_folder}/imdb_sample.csv').text.tolist()
    assert same(STOCK, OURS, texts)
    assert same(STOCK, BY_PIECE, texts)


def test_encoder_numbers_as_fastai_does():
    vocab = ['xxunk', 'xxpad', 'xxbos', 'xxmaj', 'the', 'end', 'xxfake']
    assert [o.tolist() for o in Encoder(vocab)(['The end', 'xxfake end', ''])]==[[2, 3, 4, 5], [2, 0, 5], [2]]


def test_memory_of_pieces_is_bounded():
    tok = PieceTokenizer(max_chars=5000)
    texts = [f'word{i} {i} '+'x'*200 for i in range(2000)]
    assert [list(o) for o in tok(texts)]==[[f'word{i}', str(i), 'x'*200] for i in range(2000)]
    assert sum(map(len, tok.known))<5000+200*250 # what one chunk of texts may add


def test_long_runs_are_cut_and_take_linear_time():
    for run in ('.', '-', "'", 'a.', '🙂', '&amp;', 'A'):
        text = run*(50_000//len(run))
        start = time.process_time()
        toks, = tokenize([text])
        assert time.process_time()-start<2, run
        assert ''.join(toks).count(run[0].lower())>10 or 'xxrep' in toks
    assert [list(o) for o in tokenize(['&#'+'1'*5000+'; ok'])][0][-1]=='ok'


def test_other_languages():
    assert list(tokenize(['Das ist ein Satz.'], 'de'))==[['xxbos', 'xxmaj', 'das', 'ist', 'ein', 'xxmaj', 'satz', '.']]
