"""A small PACS that is not Nephos' own code: pynetdicom, serving the files of a folder.

    query-retrieve-scp.py PORT FOLDER MOVEPORT    Verification, and C-FIND, C-GET, C-MOVE of both models; C-MOVE knows NEPHOS, on MOVEPORT

Serves until it is killed. With NEPHOS_PEER_TLS it serves, and moves, over TLS.
"""

import pathlib
import sys
import warnings

import own_answers  # noqa: F401
import peer_tls
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

warnings.simplefilter("ignore")
port, folder, move_port = sys.argv[1:]
OBJECTS = [dcmread(path) for path in sorted(pathlib.Path(folder).iterdir())]
UNIQUE = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


def matches(one, query):
    for element in query:
        wanted = element.value
        if element.keyword in ("QueryRetrieveLevel", "SpecificCharacterSet") or wanted in (None, "", []) or element.VR == "SQ":
            continue
        have = str(one.get(element.keyword) or "")
        if isinstance(wanted, str) or not hasattr(wanted, "__iter__"):
            wanted = [wanted]
        if not any(have.startswith(str(key)[:-1]) if str(key).endswith("*") else have == str(key) for key in wanted):
            return False
    return True


def find(event):
    query, seen = event.identifier, set()
    level = query.QueryRetrieveLevel
    for one in OBJECTS:
        if event.is_cancelled:
            yield 0xFE00, None
            return
        unique = str(one.get(UNIQUE[level]))
        if unique in seen or not matches(one, query):
            continue
        seen.add(unique)
        answer = Dataset()
        answer.SpecificCharacterSet = one.get("SpecificCharacterSet") or "ISO_IR 100"
        for element in query:
            if element.keyword in one and element.VR != "SQ":
                answer[element.keyword] = one[element.keyword]
            elif element.keyword not in answer:
                answer[element.tag] = element
        answer.QueryRetrieveLevel = level
        yield 0xFF00, answer


def objects(event):
    chosen = [one for one in OBJECTS if matches(one, event.identifier)]
    yield len(chosen)
    for one in chosen:
        if event.is_cancelled:
            yield 0xFE00, None
            return
        yield 0xFF00, one


def move(event):
    if event.move_destination.strip() != "NEPHOS":
        yield None, None
        return
    contexts = [build_context(*pair) for pair in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in OBJECTS}]
    yield "127.0.0.1", int(move_port), {"ae_title": "NEPHOS", "contexts": contexts}
    yield from objects(event)


ae = AE(ae_title="PYPACS")
ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 200
for uid in (Verification, PatientRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelGet,
            PatientRootQueryRetrieveInformationModelMove, StudyRootQueryRetrieveInformationModelFind,
            StudyRootQueryRetrieveInformationModelGet, StudyRootQueryRetrieveInformationModelMove):
    ae.add_supported_context(uid)
for uid in {one.SOPClassUID for one in OBJECTS}:
    ae.add_supported_context(uid, [one.file_meta.TransferSyntaxUID for one in OBJECTS if one.SOPClassUID == uid],
                             scu_role=False, scp_role=True)
handlers = [(evt.EVT_C_FIND, find), (evt.EVT_C_GET, objects), (evt.EVT_C_MOVE, move)]
ae.start_server(("127.0.0.1", int(port)), evt_handlers=handlers, ssl_context=peer_tls.server())
