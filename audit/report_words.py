"""The words of a verification report: every check and everything left open, in Swedish and English.

The keys are part of the JSON format; the tests say which check catches which change.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.languages import Text

CHECKS: Mapping[str, Text] = {
    "note": Text(
        "en kontrollpunkt är inte äkta: dess form, namn eller signatur håller inte",
        "a checkpoint is not genuine: its form, name or signature does not hold",
    ),
    "consistency": Text(
        "loggen stämmer inte med vad dess egen signerade kontrollpunkt säger",
        "the log is not what its own signed checkpoint says",
    ),
    "truncated": Text("loggen är kortare än en signerad kontrollpunkt", "the log is shorter than a signed checkpoint"),
    "remembered": Text(
        "loggen stämmer inte med den kontrollpunkt som ni har sparat",
        "the log does not agree with the checkpoint that you kept",
    ),
    "continuation": Text(
        "loggen har gått vidare under ett nytt namn utan en giltig uppgift om det",
        "the log went on under a new origin without a valid statement of it",
    ),
    "unsigned": Text(
        "flera taktslag i slutet av loggen saknar signerad kontrollpunkt",
        "several beats at the end of the log have no signed checkpoint",
    ),
    "leaf-hash": Text("posten har ändrats: dess hash är en annan", "the entry was changed: its hash is another"),
    "leaf-map": Text(
        "löv och poster svarar inte mot varandra ett till ett",
        "leaves and entries do not answer to each other one to one",
    ),
    "unsealed": Text(
        "posten saknar löv fast senare taktslag finns",
        "the entry has no leaf although later beats exist",
    ),
    "beat": Text(
        "löven följer inte av taktslagets frö: ett löv är bytt, flyttat eller ändrat",
        "the leaves do not follow from the beat's seed: one was replaced, moved or changed",
    ),
    "beat-record": Text(
        "ett taktslag och posten om det stämmer inte överens",
        "a beat and the entry about it do not agree",
    ),
    "tile": Text("en hashplatta har ändrats eller saknas", "a tile of hashes was changed or is missing"),
    "root": Text("det lagrade huvudets rot eller storlek är fel", "root or size of the stored head is wrong"),
    "columns": Text(
        "kolumnerna bredvid posten säger något annat än posten",
        "the columns beside the entry say something else than the entry",
    ),
    "schema": Text("posten bryter mot sitt formats regler", "the entry breaks the rules of its format"),
    "payload": Text(
        "det krypterade innehållet är inte det som posten band sig till",
        "the encrypted content is not what the entry committed to",
    ),
    "hole": Text(
        "något saknas, och ingen radering eller gallring förklarar det",
        "something is missing, and no erasure or disposal explains it",
    ),
    "erasure": Text(
        "en radering pekar inte på en handling som tillät den",
        "an erasure does not point to an act that allowed it",
    ),
    "open": Text("innehållet öppnas inte med sin nyckel", "the content does not open with its key"),
    "inclusion": Text(
        "det visas inte att posten finns i loggen under den signerade kontrollpunkten",
        "it is not shown that the entry is in the log under the signed checkpoint",
    ),
    "held": Text(
        "anslutningen har fått besked om en post som inte är med",
        "the connector was told of an entry that is not here",
    ),
    "unit-key": Text(
        "enhetens nyckel är inte undertecknad av dess myndighet",
        "the unit's key is not signed by its agency",
    ),
    "seat-key": Text(
        "sätets nyckel är inte styrkt av det intyg som posten bär",
        "the seat's key is not vouched for by the statement that the entry carries",
    ),
    "act-signature": Text(
        "samtyckeshandlingen är inte undertecknad av sätet",
        "the consent act is not signed by the seat",
    ),
    "statute": Text(
        "ett utlämnande med stöd av lag är inte visat som det ska: vem som beslutade, bestämmelsen eller bekräftelsen",
        "a statutory disclosure is not shown as it must be: who decided, the provision, or the confirmation",
    ),
    "said": Text(
        "det visas inte att sätet självt har sagt att det lämnade ut detta muntligen",
        "it is not shown that the seat itself said that it told this",
    ),
    "join": Text(
        "det visas inte att sätet självt har sagt att två ärenden gäller samma person, eller två",
        "it is not shown that the seat itself said that two cases are one person's, or two persons'",
    ),
    "evidence": Text(
        "det visas inte att enheten skickade det som posten säger",
        "it is not shown that the unit sent what the entry says",
    ),
    "ledger": Text(
        "sätets samtyckesliggare har ett hopp eller går inte att läsa",
        "the seat's consent ledger has a gap or cannot be read",
    ),
    "decision": Text(
        "beslutet blir ett annat när det räknas om",
        "the decision comes out differently when it is computed again",
    ),
    "rules": Text(
        "beslutet följer andra regler än de som gällde för den som lämnade ut",
        "the decision follows other rules than those that were in force for the discloser",
    ),
    "release": Text(
        "något lämnades ut som ett återkallande redan hade stoppat",
        "something was released that a withdrawal had already stopped",
    ),
}

NOT_SHOWN: Mapping[str, Text] = {
    "cosignatures": Text(
        "Inga andra myndigheters medsignaturer finns ännu: en operatör med loggens nyckel kan visa olika loggar "
        "för olika läsare, och posternas tid är operatörens egen uppgift.",
        "No other agencies' cosignatures exist yet: an operator with the log's key can show different readers "
        "different logs, and the time of an entry is the operator's own word.",
    ),
    "continued": Text(
        "Loggen har gått vidare efter en förlust: poster som hörde hit och lades till efter kopian kan saknas.",
        "The log went on after a loss: entries that belonged here and came after the copy may be missing.",
    ),
    "remembered-lost": Text(
        "Den sparade kontrollpunkten täcker löv som operatören uppger som förlorade; de kan inte jämföras.",
        "The remembered checkpoint covers leaves that the operator states as lost; they cannot be compared.",
    ),
    "segments": Text(
        "Årsdelar och gallring finns inte ännu; varje lucka som ingen radering i loggen förklarar räknas som fel.",
        "Yearly segments and disposal do not exist yet; every hole that no erasure in the log explains is broken.",
    ),
    "remembered": Text(
        "Ingen sparad kontrollpunkt angavs: en äldre men i sig hel kopia skulle inte ha märkts.",
        "No remembered checkpoint was given: an older copy, whole in itself, would not have been noticed.",
    ),
    "remembered-export": Text(
        "Den sparade kontrollpunkten är äldre än utdragets; att loggen bara har vuxit visar en kopia av hela spåret, "
        "och anslutningens egen bevakning.",
        "The remembered checkpoint is older than the export's; that the log only grew is shown by a copy of the whole "
        "trail, and by the connector's own watch.",
    ),
    "complete": Text(
        "Att ingen post saknas vilar på liggarens obrutna nummer och på de kvitton och bevis som anslutningen har; en "
        "post som ingen fick besked om syns inte i ett utdrag.",
        "That no entry is missing rests on the ledger's unbroken numbers and on the receipts and proofs that the "
        "connector holds; an entry that nobody was told of does not show in an export.",
    ),
    "own-trust": Text(
        "Tillitslistan låg i utdraget självt: jämför dess fingeravtryck med en annan myndighet, eller ange er egen "
        "(--trust).",
        "The trust list lay in the export itself: compare its fingerprint with another agency, or give your own "
        "(--trust).",
    ),
    "keys": Text(
        "Inga nycklar angavs: innehållet är inte läst och besluten är inte omräknade.",
        "No keys were given: the content was not read and no decision was computed again.",
    ),
    "newest-beat": Text(
        "Det nyaste taktslaget är kontrollerat mot sin lagrade rad; posten om det ligger först i nästa.",
        "The newest beat was checked against its stored row; the entry about it lies in the next one.",
    ),
    "uncovered": Text(
        "De nyaste löven täcks ännu inte av någon signerad kontrollpunkt.",
        "The newest leaves are not covered by a signed checkpoint yet.",
    ),
    "waiting": Text(
        "De nyaste posterna väntar på nästa taktslag och är inte i loggen ännu.",
        "The newest entries wait for the next beat and are not in the log yet.",
    ),
    "other-keys": Text(
        "Poster vars nycklar inte angavs är inte lästa.",
        "Entries whose keys were not given were not read.",
    ),
    "ledger-part": Text(
        "Beslut vilkas samtyckesliggare inte finns hel bland de öppnade posterna är inte omräknade.",
        "Decisions whose consent ledger is not whole among the opened entries were not computed again.",
    ),
    "units": Text(
        "Enheternas nycklar angavs inte (--units): att enheten skickade det som beslutades är inte visat.",
        "The units' keys were not given (--units): that the unit sent what was decided is not shown.",
    ),
    "lead": Text(
        "Den huvudansvarigas nyckel är inte känd: dess intyg om andra säten är inte prövade.",
        "The lead's key is not known: its statements about other seats were not checked.",
    ),
    "vouchers": Text(
        "Ett säte fick nya nycklar efter en förlust: vilka två andra säten som intygade dem vet ärendets anslutningar.",
        "A seat got new keys after a loss: which two others vouched for them the connectors of the case can tell.",
    ),
    "seat-key": Text(
        "För säten som inte har skickat något vilar nyckeln på spåret självt.",
        "For seats that have sent nothing the key rests on the trail itself.",
    ),
    "unsigned-withdrawal": Text(
        "Ett återkallande av allt som ett annat säte antecknade skriver mäklaren utan underskrift: det kan bara minska "
        "vad som lämnas ut.",
        "A withdrawal of everything that another seat noted is written by the broker unsigned: it can only narrow.",
    ),
    "sender-signature": Text(
        "Någon händelse bär inte sätets underskrift; mottagaren avvisar en sådan. Enhetens underskrift är prövad.",
        "Some event does not bear the seat's signature; a recipient rejects such a one. The unit's was checked.",
    ),
    "recipient-unit": Text(
        "För vissa utlämningar avgör mottagarens enhet, som är förseglad; de är inte fullt omräknade.",
        "For some disclosures the recipient's unit decides, and that is sealed; they were not fully computed again.",
    ),
    "rules": Text(
        "Beslut under en annan regelversion än de medföljande är inte omräknade.",
        "Decisions under other rules than those at hand were not computed again.",
    ),
}
