"""Words that ask, refer or join, by language: they tell which language a short text is in, and nothing of its topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from fdvs.languages.families import stemmer
from fdvs.languages.terms import terms

# The second part of each is true of any video.
_LISTS = {
    "en": """
a an and any anyone are as at be been being but by can could did do does doing done for from had has have he her here
him his how i if in into is it its many may me might much must my of on or our please shall she should so some someone
something tell than that the their them then there these they this those to us was we were what whatever when where
which while who whom whose why will with would you your
happen happens happened happening going place scene clip video film movie footage show shown shows showing see seen
about describe explain summarise summarize story content people person
""",
    "de": """
aber alle als also am an auch auf aus bei bin bis bist bitte da damit dann das dass dein deine dem den denn der des die
dies diese dieser dieses dir doch dort du durch ein eine einem einen einer eines er es etwas euch euer für gegen hab
habe haben hat hatte hatten hier hin ich ihm ihn ihnen ihr ihre im in ins ist ja jede jeder jedes jemand kann kein keine
können man mein meine mich mir mit muss nach nicht noch nur ob oder ohne sehr sein seine sich sie sind so soll sollte
über um und uns unser unter viel viele vom von vor wann war waren warum was weil welche welcher welches wem wen wenn wer
werden wie wieso wieviel wir wird wo woher wohin worden worum wurde wurden zu zum zur zwischen
passiert geschieht zeigt zeigen gezeigt sieht sehen film video szene clip handelt geht erzähl erzähle erkläre beschreibe
""",
    "nl": """
aan al als bij dan dat de den der deze die dit doen door dus een en er geen had heb hebben heeft het hij hoe hoeveel
hun iemand iets ik in is ja je jij jullie kan kunnen maar me meer met mij mijn naar niet nog nu of om ons onze ook op
over te tegen toen tot u uit uw van veel voor waar waarom wanneer want waren was wat we welk welke werd wie wij worden
wordt zal ze zich zij zijn zo zonder zou
gebeurt video film scène toont laat zien
""",
    "fr": """
à afin ai alors après as au aussi aux avec avait avant avez avoir avons ça car ce ceci cela celle celui ces cet cette
chez comme comment dans de des donc dont du elle elles en entre es est et était étaient été être eux il ils je la le les
leur leurs lui ma mais me mes moi mon ne nos notre nous on ont ou où par parce pas pendant peut plus pour pourquoi qu
quand que quel quelle quelles quels qui quoi sa sans se ses si son sont sous sur ta te tes toi ton tous tout toute très
tu un une vers vos votre vous y
passe vidéo film scène montre voit explique décris
""",
    "es": """
a al algo alguien ante así aunque como cómo con cual cuál cuales cuando cuándo cuánto cuántos de del desde donde dónde
el él ella ellas ellos en entre era eran eres es esa ese eso esta está están este esto estos fue fueron ha había han
has hasta hay la las le les lo los me mi mis muy más nada ni no nos nosotros o os para pero por porque pues que qué
quién quien se sea ser si sí sin sobre son soy su sus también te tiene tienen tu tus un una unas uno unos y ya yo
pasa vídeo video película escena muestra ve explica describe
""",
    "it": """
a ad agli ai al alla alle anche avere c che chi ci come con cosa così cui da dagli dai dal dalla degli dei del della
delle di dove e è ed era erano gli ha hanno ho i il in io l la le lei li lo loro lui ma mi mio ne nei nel nella noi non
o per perché più può qual quale quali quando quanti quanto quella quello questa questo qui sarà se sei si sia siamo
siete sono su sua sue sul sulla suo suoi tra tu tua tuo tutti un una uno vi voi
succede video film scena mostra vede spiega descrivi
""",
    "pt": """
a à ao aos aquela aquele as às até com como da das de dela dele do dos e é ela elas ele eles em entre era eram essa
esse esta está estão este eu foi foram há isso isto já la lhe mais mas me meu minha muito na nas não nem no nos nós
num numa o onde os ou para pela pelas pelo pelos por porque qual quais quando quanto que quê quem se sem ser seu seus
só sobre sou sua suas também te tem têm ter teu tu tua um uma umas uns você vocês
acontece vídeo filme cena mostra vê explica descreve
""",
    "ru": """
а без был была были было быть в вам вас весь во вот все всё вы где да даже для до его ее её если есть ещё же за здесь и
из или им их к как какая какие какой когда кого кто куда ли мне много мой мы на над нам нас не него нет ни но о об он
она они оно от по под почему при с сколько со так такой там тебя то того тоже только ты у уже чего чей чем что чтобы
эта эти это этого этот я
видео фильм сцена происходит показано показывает видно расскажи опиши
""",
    # Written without blanks: pairs of characters, as such text is cut.
    "zh": """
什么 怎么 怎样 哪里 哪儿 哪个 哪些 为什 多少 几个 是谁 谁是 谁在 是什 有什 么时 时候 这个 那个 一个 的是 了吗 在哪
什麼 怎麼 為什 視頻 视频 影片 里有 里面
""",
    "ja": """
です ます した ので から 何で 何が 何を 誰が どこ いつ なぜ どう これ それ この その いる ある する して とは 動画 映像
""",
}


@cache
def _stems(language: str) -> frozenset[str]:
    stem = stemmer(language)
    return frozenset(stem(word) for word in terms(_LISTS[language]))


@cache
def _words(language: str) -> frozenset[str]:
    return frozenset(terms(_LISTS[language]))


def function_words(language: str) -> frozenset[str]:
    """The function words of a language; none where they are not known here."""
    return _words(language) if language in _LISTS else frozenset()


def share_of_english(words: Sequence[str]) -> float:
    """Share of words that are English function words."""
    return sum(word in _words("en") for word in words) / max(len(words), 1)


def language_of_query(words: Sequence[str], languages: Iterable[str]) -> str | None:
    """The language, of those given, most of whose function words are among the words: the best there is to tell the
    language of a line of text by. None where no function word is there, or two languages have equally many."""
    counts = {language: sum(word in _words(language) for word in words) for language in languages if language in _LISTS}
    best = max(counts.values(), default=0)
    found = [language for language, count in counts.items() if count == best]
    return found[0] if best and len(found) == 1 else None


def telling(words: Sequence[str], language: str | None) -> list[str]:
    """The words that are not, in any form, function words of that language (English where it is not known), each once.

    Only one language is asked: the German article `die` is an English verb.
    """
    asked = language if language in _LISTS else "en"
    empty, stem = _stems(asked), stemmer(asked)
    return [word for word in dict.fromkeys(words) if stem(word) not in empty]
