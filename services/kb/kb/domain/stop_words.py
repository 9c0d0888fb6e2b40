"""Function words that lexical search leaves out: nearly every chunk has them, so they say nothing about one.

Short lists on purpose. A word missing here costs speed only, since BM25 gives frequent words little weight; a content
word here would cost results.
"""

_ENGLISH = """
a about above after again against all am an and any are as at be because been before being below between both but by
can could did do does doing down during each few for from further had has have having he her here hers herself him
himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only or other
our ours ourselves out over own same she should so some such than that the their theirs them themselves then there
these they this those through to too under until up very was we were what when where which while who whom why will
with would you your yours yourself yourselves
"""
_GERMAN = """
aber als am an auch auf aus bei beim bin bis bist da damit dann das dass dem den denn der des die dies diese diesem
diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwas euch euer für gegen habe
haben hat
hatte hatten hier hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem jeden jeder
jedes kann
kein keine keinem keinen keiner können man mein meine mich mir mit muss nach nicht nichts noch nun nur ob
oder ohne sehr
sein seine seinem seinen seiner sich sie sind so soll sollte sondern über um und uns unser unter viel vom von vor war
waren warum was weil welche welchem welchen welcher welches wenn wer werde werden wie wieder will wir wird wo würde
würden zu zum zur zwischen
"""
_FRENCH = """
à ai as au aux avec avait avez avons c car ce cela ces cet cette comme d dans de des donc du elle elles en
entre est et
été être eu eux fait il ils j je l la le les leur leurs lui m ma mais me même mes moi mon n ne ni nos notre
nous on ont
ou où par pas pour plus qu quand que quel quelle quelles quels qui s sa sans se sera ses si son sont sous sur t ta te
tes toi ton tous tout toute toutes très tu un une vos votre vous y
"""
_SPANISH = """
a al algo ante antes como con contra cual cuando de del desde donde durante e el él ella ellas ellos en entre era eran
es esa esas ese eso esos está están esta estas este esto estos fue fueron ha han hasta hay la las le les lo los más me
mi mis mucho muy nada ni no nos nosotros o os otra otro para pero poco por porque que qué quien se ser si sí sin sobre
son su sus también tan te tiene todo todos tu tus un una unas uno unos y ya yo
"""
_ITALIAN = """
a ad agli ai al alla alle allo anche che chi ci come con cui da dagli dai dal dalla dalle dallo degli dei del della
delle dello di dove e ed è era erano essere fra gli ha hanno ho i il in io la le lei li lo loro lui ma mi mia mio ne
negli nei nel nella nelle nello noi non nostro o per perché più quale quando quella quelle quelli quello questa queste
questi questo se sei si sia sono su sua sue sugli sui sul sulla sulle sullo suo suoi tra tu tutti tutto un una uno voi
"""
_PORTUGUESE = """
a à ao aos as às até com como da das de dela dele deles depois do dos e é ela elas ele eles em entre era eram essa
essas esse esses esta está estas este estes eu foi foram há isso isto já lhe mais mas me mesmo meu minha muito na nas
não nem no nos nós nossa nosso num numa o os ou para pela pelas pelo pelos por qual quando que quem se sem
ser seu seus
só sua suas também te tem teu tu tua um uma você vocês
"""
_DUTCH = """
aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een en er ge geen haar had
heb hebben heeft hem het hier hij hoe hun ik in is ja je kan kon kunnen maar me meer men met mij mijn moet na
naar niet
niets nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot u uit uw van veel voor want waren was wat
werd wezen wie wil worden wordt zal ze zelf zich zij zijn zo zonder zou
"""
_SWEDISH = """
alla allt än är att av blev bli blir de dem den denna deras dess det detta dig din dina du efter ej eller en
er ett för
från ha hade han hans har hennes hon honom hur i in inte ingen jag kan kunde man med mellan men mig min mina
mot mycket
när ni nu något några och om oss på så samma sedan sig sin sina ska skulle som till under upp ut utan vad var vara
varför vem vi vid vilka vilken
"""
_DANISH = """
af alle alt anden at blev bliver da de dem den denne der deres det dette dig din du efter eller en end er et for fra
før ham han hans har havde hende hendes her hos hun hvad hvis hvor hvordan i ikke ind jeg jer jo kan kunne
man mange med
meget men mig min mod når nogle noget nu og også om op os over på sig sin skal skulle som så til ud under var ved vi
vil ville være været
"""
_NORWEGIAN = """
alle alt at av ble bli blir da de dem den denne der deres det dette deg din du eller en enn er et etter for
fordi fra før
ha hadde han hans har henne hennes her hun hva hvem hver hvis hvor hvordan hvorfor i ikke inn jeg kan kunne
man med meg
mellom men min mot mye må ned noe noen nå når og også om opp oss over på seg sin skal skulle som så til under ut uten
var ved vi vil ville være vært
"""
_FINNISH = """
ei eivät emme en ette että he hän ja jonka jos jossa joka jotka kanssa koska kuin kun me mikä missä mitä mukaan mutta
myös ne niiden niin nyt näiden nämä olen oli olivat olla on ovat se sekä sen siitä sille sitä tai te tämä tämän tässä
tätä vaan vai vain voi
"""
_RUSSIAN = """
а без более бы был была были было быть в вам вас во вот все всего всех вы где да даже для до его ее её ей
если есть еще
ещё же за здесь и из или им их к как когда кто ли мне мы на над не него нее неё нет ни них но о об он она они оно от
по под при с со так также там то того тоже только том тот ты у уже чем что чтобы эта эти это этот я
"""

STOP_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(_ENGLISH.split()),
    "de": frozenset(_GERMAN.split()),
    "fr": frozenset(_FRENCH.split()),
    "es": frozenset(_SPANISH.split()),
    "it": frozenset(_ITALIAN.split()),
    "pt": frozenset(_PORTUGUESE.split()),
    "nl": frozenset(_DUTCH.split()),
    "sv": frozenset(_SWEDISH.split()),
    "da": frozenset(_DANISH.split()),
    "no": frozenset(_NORWEGIAN.split()),
    "fi": frozenset(_FINNISH.split()),
    "ru": frozenset(_RUSSIAN.split()),
}
"""By language code; languages without a list keep all words."""
