"""Is a grammar that costs the engine too much told from one that people write?"""

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.router.gbnf import fault, measure

pytestmark = pytest.mark.pure


def doubling(last: str, form: str = "r{0} r{0}", levels: int = 30) -> str:
    rules = (f"r{level} ::= {form.format(level - 1)}" for level in range(1, levels + 1))
    return "\n".join([f"root ::= r{levels}", *rules, f"r0 ::= {last}"])


WRITTEN = {
    "json": r"""root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}""",
    "lines": 'root ::= "a" |\r\n "b" # one\r\n\r\nx ::= (\n "a"\n | root )+ y{2,3}\ny ::= . <[12]> !<x>',
    "recursion": 'root ::= "(" root ")" | "[" root ("," root)+ "]" | "x"',
    "sloppy space": "root ::= (ws)* ws*\nws ::= [ \\t]*",
    "long maximum": 'root ::= "a"{0,100000}',
    "95 words": "root ::= " + " | ".join(f'"word {n}"' for n in range(95)),
    "words by their first letter": "root ::= "
    + " | ".join(f'"{a}" {a}' for a in "abcdefgh")
    + "".join(f"\n{a} ::= " + " | ".join(f'"{a}{n}"' for n in range(90)) for a in "abcdefgh"),
    "90 optional members": 'root ::= "{" ' + '("," "a" ":" v)? ' * 90 + '"}"\nv ::= "x"',
    "arithmetic": 'root ::= (expr "=" ws term "\\n")+\nexpr ::= term ([-+*/] term)*\n'
    'term ::= ident | num | "(" ws expr ")" ws\nident ::= [a-z] [a-z0-9_]* ws\nnum ::= [0-9]+ ws\n'
    "ws ::= [ \\t\\n]*",
    "chess": 'root ::= "1. " move " " move "\\n" ([1-9] [0-9]? ". " move " " move "\\n")+\n'
    'move ::= (pawn | piece | castle) [+#]?\npiece ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]\n'
    'pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?\ncastle ::= "O-O" "-O"?',
    "english": r"""root ::= char+ ([ \t\n] char+)*
char ::= [a-zA-Z] | [0-9] | [!"#$%&'()*+,-./:;<=>?@[\\\]^_`{|}~]""",
    "japanese": "root ::= char+ ([ \\t\\n] char+)*\nchar ::= [ぁ-ゟ] | [ァ-ヿ] | [、-〾] | [一-鿿]",
    "a list": r"root ::= item+" + "\n" + r'item ::= "- " [^\r\n\x0b\x0c\x85\u2028\u2029]+ "\n"',
    "c": r"""root ::= (declaration)*
declaration ::= type name "(" (type name)? ")" "{" statement* "}"
type ::= "int" ws | "float" ws | "char" ws
name ::= [a-zA-Z_] [a-zA-Z_0-9]*
statement ::= ( type name ws "=" ws sum ";" ) | ( name ws "=" ws sum ";" ) | ( name ws "(" list? ")" ";" ) |
    ( "return" ws sum ";" ) | ( "while" "(" test ")" "{" statement* "}" ) |
    ( "for" "(" first ";" ws test ";" ws next ")" "{" statement* "}" ) |
    ( "if" "(" test ")" "{" statement* "}" ("else" "{" statement* "}")? ) |
    ( "//" [^\n]* "\n" ) | ( "/*" ( [^*] | ("*" [^/]) )* "*/" )
first ::= type name ws "=" ws sum | name ws "=" ws sum
next ::= name ws "=" ws sum
test ::= sum ("<=" | "<" | "==" | "!=" | ">=" | ">") sum
sum ::= product (("+" | "-") product)*
product ::= factor (("*" | "/") factor)*
factor ::= name | [0-9]+ | "-" factor | name "(" list? ")" | "(" ws sum ws ")"
list ::= sum ("," ws sum)*
ws ::= ([ \t\n]+)""",
    "other optional words": 'root ::= ("very" | "quite")? "good" ("indeed" | [.!?]+)?',
    "empty": "",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_people_write_passes(name: str) -> None:
    assert "" == fault(WRITTEN[name])


BOMBS = {
    "parentheses": "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000,
    "doubling what may be empty": doubling('"a"?'),
    "doubling by an empty alternative": doubling('"a" |'),
    "doubling by a group": doubling('("a"*)', "(r{0}) (r{0})"),
    "doubling behind a character": doubling('"a"?').replace("root ::=", 'root ::= "x"'),
    "doubling alternatives": doubling('"a"', "r{0} | r{0}"),
    "doubling by count": "root ::= " + "(" * 50 + '"a"?' + "){2}" * 50,
    "101 words": "root ::= " + " | ".join(f'"{n}"' for n in range(101)),
    "words that begin alike": 'root ::= "x" r\nr ::= '
    + " | ".join(f'"a" s{n}' for n in range(9))
    + "".join(f"\ns{n} ::= " + " | ".join(f'"b" [0-9]* "{m}"' for m in range(20)) for n in range(9)),
    "optional characters": "root ::= " + '"a"? ' * 3_000,
    "a long word often": f'root ::= "{"a" * 30_000}"{{2000}}',
    "many long repetitions": "root ::= " + '"a"{0,2000} ' * 500,
    "counts on counts": "root ::= " + '"a"' + "{40}" * 10,
    "a hidden left recursion": 'root ::= e root "b" | "a"\ne ::= f\nf ::= "z" |',
    "a left recursion": 'root ::= root "a" | "b"',
    "a chain of beginnings": "\n".join(f"r{n} ::= r{n + 1}" for n in range(3_000)),
    "20,000 words": "root ::= " + " | ".join(f'"{n}"' for n in range(6_000)),
    "a most below its least": 'root ::= "a"{5,2}',
    "a most below its least, of what may be empty": 'root ::= ("a"?){1,0} "b"',
    "two ways back to itself": 'root ::= "a" root "b" | "a" root "c"',
    "two ways back, over other rules": 'root ::= "x" list\nlist ::= "[" item "]" | "(" y\n'
    'item ::= list | [\\x5b] list "}"\ny ::= "y"',
    "two ways back, one that may end": 'root ::= "a" root "b" | [a-c] root "c" |',
    "two ways back, of a repeated word": 'root ::= ("aa" root "b" | "aaaa" root "c")+ | "d"',
    "ways that multiply from rule to rule": "root ::= r1\n"
    + "\n".join(f'r{n} ::= "a" r{n + 1} "x" | "a" r{n + 1} "y"' for n in range(1, 30))
    + '\nr30 ::= "z"',
    "1 MB": "root ::= [" + "a" * 1_000_000 + "]",
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_costs_too_much_is_refused_at_once(name: str) -> None:
    begin = time.process_time()

    assert fault(BOMBS[name])
    assert 1 > time.process_time() - begin


@pytest.mark.parametrize(
    "grammar", ["root", "::= a", 'root ::= "a', "root ::= (a", "root ::= a)", "root ::= *", "a b"]
)
def test_what_the_engine_cannot_read_is_refused_with_its_place(grammar: str) -> None:
    assert "cannot be read" in fault(grammar)


IMPOSSIBLE = {
    "root ::= [z-a]": "[z-a]",
    'root ::= "b" | "a" [9-0] "b"': "[9-0]",
    r"root ::= [\u0062-\x61]": "[b-a]",
    r"root ::= [\x00]": "no character",
    r"root ::= [^\x00-\U0010FFFF]": "no character",
    r'root ::= "a\x00"': "no character",
    r'root ::= "\uD800"': "no character",
    r'root ::= "\UFFFFFFFF"': "beyond Unicode",
    r"root ::= [a-\U00110000]": "beyond Unicode",
    r'root ::= "\q"': "escape",
    r'root ::= "\xZZ"': "escape",
    "root ::= nothing": "nothing",
    'root ::= "a"\nb ::= c': "does not define, c",
    'a ::= "a"': '"root"',
    'root ::= ("a" | b)*': "does not define, b",
    "# nothing": '"root"',
}


@pytest.mark.parametrize("grammar", IMPOSSIBLE)
def test_what_no_text_can_follow_is_refused_with_what_is_wrong(grammar: str) -> None:
    assert IMPOSSIBLE[grammar] in fault(grammar)


@pytest.mark.parametrize(
    "characters",
    [
        r"^\"\\\x7F\x00-\x1F",
        "-+*/",
        "+-",
        "a-",
        r"\]\[\-",
        "ぁ-ゟ",
        r"\x00-\uFFFF",
        "--a",
        r"\x00-\x7F",
    ],
)
def test_sets_that_some_character_fits_pass(characters: str) -> None:
    assert "" == fault(f"root ::= [{characters}]")


def test_the_refusal_of_an_ambiguous_grammar_names_a_remedy() -> None:
    assert "write it so that" in fault('root ::= "a" root "b" | "a" root "c" | "d"')


def test_expansion_is_counted_as_the_engine_expands() -> None:
    once, twice = measure('root ::= "abc"')[0], measure('root ::= "abc"{2}')[0]

    assert 3 == twice - once
    assert 1_700 < measure('root ::= "a"{0,100}')[0] < 1_800


WORDS = st.sampled_from(
    ["(", ")", "|", "*", "?", "+", "{2}", "{0,9}", '"a"', "[ab]", "r", "s", "\n", "s ::= ", "."]
)


@given(words=st.lists(WORDS, max_size=400), noise=st.text(string.printable, max_size=5))
def test_any_text_gets_a_verdict(words: list[str], noise: str) -> None:
    assert isinstance(fault("r ::= " + " ".join(words) + noise), str)
