"""Character sets by the names that mail gives them, and text in them.  Does not know where a name comes from."""

from __future__ import annotations

import codecs
import functools
import re

# Python's names of codecs that are slow on input made for it, or made for other things than mail.
_NO_CHARSETS = {"punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "idna", "undefined"}
# Names that say nothing.
_NO_NAMES = {"us-ascii", "ascii", "unknown-8bit", "unknown", "default"}

# Python's codec for names that it lacks, or whose codec lacks what senders write under that name (those of East Asia:
# the Encoding Standard of WHATWG reads them as what Windows calls so).  Names are in lower case, letters and digits
# only.  The visual and the implicit order of right-to-left text (RFC 1556) are coded alike.
_CODECS = {
    codec: names.split()
    for codec, names in {
        "utf-8": "unicode11utf8 unicode20utf8 xunicode20utf8",
        "utf-16-be": "unicodefffe",
        "utf-16": "csunicode iso10646ucs2 ucs2 unicode unicodefeff",
        "iso8859-1": "iso88591",
        "iso8859-2": "iso88592",
        "iso8859-3": "iso88593",
        "iso8859-4": "iso88594",
        "iso8859-5": "iso88595",
        "iso8859-6": "iso88596 iso88596e iso88596i csiso88596e csiso88596i",
        "iso8859-7": "iso88597 suneugreek",
        "iso8859-8": "iso88598 iso88598e iso88598i csiso88598e csiso88598i logical visual",
        "iso8859-9": "iso88599",
        "iso8859-10": "iso885910",
        "iso8859-13": "iso885913",
        "iso8859-14": "iso885914",
        "iso8859-15": "iso885915 csisolatin9",
        "cp874": "windows874 dos874 tis620 iso885911 cswindows874 cstis620",
        "cp932": "shiftjis sjis mskanji csshiftjis xsjis windows31j cswindows31j",
        "cp949": "euckr cseuckr ksc56011987 ksc56011989 ksc5601 csksc56011987 korean isoir149 windows949",
        "gb18030": "gb2312 gb231280 csgb2312 chinese csiso58gb231280 isoir58 gbk xgbk csgbk ms936 windows936",
        "cp950": "big5 csbig5 cnbig5 xxbig5 big5tw",
        "euc-jp": "cseucpkdfmtjapanese xeucjp cp51932 cscp51932",
        "iso2022-jp-ext": "cp50220 cscp50220",
        "koi8-r": "koi koi8",
        "koi8-u": "koi8ru",
        "cp1250": "xcp1250",
        "cp1251": "xcp1251",
        "cp1252": "xcp1252",
        "cp1253": "xcp1253",
        "cp1254": "xcp1254",
        "cp1255": "xcp1255",
        "cp1256": "xcp1256",
        "cp1257": "xcp1257",
        "cp1258": "xcp1258",
        "cp858": "ccsid00858 cp00858 ibm00858 pcmultilingual850euro",
        "mac-roman": "mac macintosh csmacintosh xmacroman",
        "mac-cyrillic": "xmaccyrillic xmacukrainian",
        "mac-latin2": "xmacce xmaccentraleurroman",
        "mac-greek": "xmacgreek",
        "mac-turkish": "xmacturkish",
        "mac-iceland": "xmacicelandic",
        "mac-romanian": "xmacromanian",
        "mac-croatian": "xmaccroatian",
        "mac-arabic": "xmacarabic",
        "mac-farsi": "xmacfarsi",
    }.items()
}
_CODEC_OF = {name: codec for codec, names in _CODECS.items() for name in names}

# What else is registered (IANA, Character Sets) or in the Encoding Standard; Python has no codec like it.
_REGISTERED = frozenset(
    "adobestandardencoding adobesymbolencoding ami1251 amiga1251 ansix31101983 arabic7 asmo449 bocu1 brf bs4730 "  # noqa: SIM905
    "bsviewdata ca cesu8 cn cpar cpgr cpis csat5001983 csaz243419851 csaz243419852 csaz24341985gr csn369103 cuba "
    "de dec decmcs din66003 dk dkus ds2089 e13b ecmacyrillic es es2 extendedunixcodefixedwidthforjapanese fi fr gb "
    "gb198880 gost1976874 greek7 greek7old greekccitt hpdesktop hplegal hpmath8 hppifont hu iecp271 inis inis8 "
    "iniscyrillic invariant irv iso10367box iso10646 iso10646j1 iso10646ucs4 iso10646ucsbasic iso10646unicodelatin1 "
    "iso10646utf1 iso115481 isotr115481 iso20331983 iso2022cn iso2022cnext iso5427 iso54271981 iso5427cyrillic1981 "
    "iso54281980 iso6937225 iso69372add iso88591windows30latin1 iso88591windows31latin1 iso88592windowslatin2 "
    "iso88599windowslatin5 iso8859supp iso9036 isounicodeibm1261 isounicodeibm1264 isounicodeibm1265 "
    "isounicodeibm1268 isounicodeibm1276 it jisc62201969 jisc62201969jp jisc62201969ro jisc62261978 jisc62261983 "
    "jisc62291984a jisc62291984b jisc62291984badd jisc62291984hand jisc62291984handadd jisc62291984kana jisencoding "
    "jisx0201 jisx02081983 jisx02121990 jp jpocra jpocrb jpocrbadd jpocrhand jpocrhandadd js jusib1002 jusib1003mac "
    "jusib1003serb katakana koi7switched koi8e ksc5636 lap latin125 latin9 latingreek latingreek1 latinlap macedonian "
    "microsoftpublishing mnem mnemonic msz77953 naplps natsdano natsdanoadd natssefi natssefiadd ncnc001081 nfz62010 "
    "nfz620101973 no no2 ns45511 ns45512 osdebcdicdf03irv osdebcdicdf041 osdebcdicdf0415 pc8danishnorwegian "
    "pc8turkish pt pt2 ref replacement scsu se se2 sen850200b sen850200c serbian stsev35888 t101g2 t61 t617bit "
    "t618bit tscii uk unicode11 unicode11utf7 unknown8bit usdk utf7 venturainternational venturamath venturaus "
    "videotexsuppl viqr viscii x0201 x02017 x0208 x0212 xuserdefined yu".split()
)
# Families of names of the register, whose members are counted or are spelt after another name of theirs.
_FAMILY = re.compile(
    r"cs[a-z][a-z0-9]{2,}|isoir\d{1,3}|iso646[a-z0-9]{2,12}|(?:ibm|cp|ccsid)\d{3,5}|ebcdic[a-z0-9]{2,}"
)

# RFC 2978 §2.3:  mime-charset-chars, without the apostrophes that some put around a name
_NAME = re.compile(r"[A-Za-z0-9!#$%&+^_`{}~.:()-]+")


@functools.lru_cache(maxsize=100)
def maybe_codec(name: str) -> str | None:
    """Python's name for what text in a character set can be decoded with; None if there is nothing."""
    codec = _CODEC_OF.get(_letters(name), name)
    try:
        b"a".decode(codec, "ignore")  # LookupError also for "zlib" and its like, which are no charsets
        return codec if codecs.lookup(codec).name not in _NO_CHARSETS else None
    except (LookupError, ValueError):
        return None


def is_charset(name: str) -> bool:
    """Whether text can be decoded by it."""
    return maybe_codec(name) is not None


def is_known(name: str) -> bool:
    """Whether a character set has this name, be there a codec for it or not."""
    letters = _letters(name)
    is_name = is_charset(name) or letters in _REGISTERED or _FAMILY.fullmatch(letters) is not None
    return is_name and _NAME.fullmatch(name) is not None


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:100].lower())


def decode_text(data: bytes, maybe_charset: str | None, *, is_cut: bool = False) -> str:
    """Text in the charset that it says, or else in UTF-8, Windows' or Latin-1, which anything is.

    ``is_cut``: the last character may lack its end, and is dropped then.
    """
    if data.isascii() and maybe_charset is None:
        return data.decode("ascii")
    named = None if maybe_charset is None or maybe_charset.lower() in _NO_NAMES else maybe_codec(maybe_charset)
    for codec in (named, "utf-8", "cp1252"):
        if codec is None:
            continue
        try:
            text = codecs.getincrementaldecoder(codec)().decode(data, not is_cut)
        except (LookupError, ValueError):
            continue
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")  # no lone surrogates
    return data.decode("latin-1")
