"""A DIMSE peer that is not Nephos' own code: pynetdicom, sending and taking data sets as they lie in files.

    dimse-session.py store HOST PORT FILES.json       FILES: paths. [{path, status, sop, cls, syntax, sha256 of the data set,
                                                    complete: it has all UIDs, agrees: they are those of the file meta}]
    dimse-session.py get HOST PORT WANTED.json        WANTED: [{sop, cls, syntax}]. {sop: sha256 of what came, "statuses": [...]}
    dimse-session.py services HOST PORT STUDY MOVEPORT  what C-ECHO, C-FIND, C-MOVE and a cancelled C-FIND answer, for one study
    dimse-session.py commit HOST PORT STUDY LISTENPORT  Storage Commitment of a study, and of an instance that is not there: what
                                                    N-EVENT-REPORT says, and whether over an association of its own

Prints JSON.
"""

import hashlib
import json
import pathlib
import queue
import sys
import threading
import warnings

import own_answers  # noqa: F401
import peer_tls
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, _config, build_context, build_role, evt
from pynetdicom.dsutils import split_dataset
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

warnings.simplefilter("ignore")
_config.STORE_SEND_CHUNKED_DATASET = True
_config.ENFORCE_UID_CONFORMANCE = False
CONTEXTS = 120
PATIENCE_SECONDS = 200


def patient(ae):
    ae.acse_timeout = ae.dimse_timeout = PATIENCE_SECONDS
    ae.network_timeout = 600  # it counts on while messages are being sent: a busy machine takes more than a minute for the corpus
    return ae


def entity():
    return patient(AE(ae_title="PYNETDICOM"))


def associate(ae, host, port, contexts, **more):
    association = ae.associate(host, int(port), contexts=contexts, ae_title="NEPHOS", tls_args=peer_tls.client(), **more)
    if not association.is_established:
        raise SystemExit("no association")
    return association


def digest(data):
    return hashlib.sha256(data).hexdigest()


def store(host, port, files, priority=2):
    rows, groups = [], [[]]
    pairs = set()
    for path in files:
        try:
            meta, offset = split_dataset(pathlib.Path(path))
            row = {"path": path, "sop": str(meta.MediaStorageSOPInstanceUID), "cls": str(meta.MediaStorageSOPClassUID),
                   "syntax": str(meta.TransferSyntaxUID)}
        except Exception:  # no file meta: nothing says how to send it
            continue
        if not row["cls"] or not row["sop"]:
            continue
        keywords = ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]
        dataset = dcmread(path, specific_tags=keywords, stop_before_pixels=True)
        uids = [str(dataset.get(keyword) or "") for keyword in keywords]
        row["complete"] = all(uids)
        row["agrees"] = uids[:2] == [row["sop"], row["cls"]]
        with open(path, "rb") as file:
            file.seek(offset)
            row["sha256"] = digest(file.read())
        pair = (row["cls"], row["syntax"])
        if pair not in pairs and len(pairs) == CONTEXTS:
            groups.append([])
            pairs = set()
        pairs.add(pair)
        groups[-1].append(row)
    for group in groups:
        contexts = [build_context(*pair) for pair in {(row["cls"], row["syntax"]) for row in group}]
        association = associate(entity(), host, port, contexts)
        for row in group:
            try:
                row["status"] = association.send_c_store(pathlib.Path(row["path"]), priority=priority).get("Status")
            except (ValueError, AttributeError) as error:  # pynetdicom itself will not send it
                row["unsent"] = str(error)
            rows.append(row)
        association.release()
    return rows


def get(host, port, wanted):
    got, statuses = {}, []

    def take(event):
        got[str(event.request.AffectedSOPInstanceUID)] = digest(event.request.DataSet.getvalue())
        return 0x0000

    for start in range(0, len(wanted), 100):
        part = wanted[start : start + 100]
        pairs = {(one["cls"], one["syntax"]) for one in part}
        contexts = [build_context(StudyRootQueryRetrieveInformationModelGet)] + [build_context(*pair) for pair in pairs]
        roles = [build_role(cls, scp_role=True) for cls in {cls for cls, _ in pairs}]
        association = associate(entity(), host, port, contexts, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, take)])
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.SOPInstanceUID = [one["sop"] for one in part]
        last = None
        for status, _ in association.send_c_get(query, StudyRootQueryRetrieveInformationModelGet):
            last = status
        statuses.append({"status": last.Status, "completed": last.NumberOfCompletedSuboperations,
                         "failed": last.NumberOfFailedSuboperations})
        association.release()
    return {"got": got, "statuses": statuses}


def services(host, port, study, move_port):
    report, moved = {}, []
    ae = entity()
    contexts = [build_context(uid) for uid in (
        Verification, StudyRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelMove)]
    association = associate(ae, host, port, contexts)
    report["echo"] = association.send_c_echo().Status
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study
    query.SeriesInstanceUID = ""
    query.Modality = ""
    found = [(status.Status, identifier) for status, identifier in
             association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind)]
    report["series"] = [str(identifier.Modality) for _, identifier in found if identifier is not None]
    report["find"] = found[-1][0]
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.SOPInstanceUID = ""
    matches = 0
    for status, identifier in association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind, msg_id=77):
        if status.Status in (0xFF00, 0xFF01):
            matches += 1
            if matches == 3:
                association.send_c_cancel(77, query_model=StudyRootQueryRetrieveInformationModelFind)
    report["cancelled"] = status.Status

    def take(event):
        moved.append((str(event.request.AffectedSOPInstanceUID), event.request.Priority))
        return 0x0000

    receiver = patient(AE(ae_title="PYSCP"))
    from pynetdicom import StoragePresentationContexts
    receiver.supported_contexts = StoragePresentationContexts
    server = receiver.start_server(
        ("127.0.0.1", int(move_port)), block=False, evt_handlers=[(evt.EVT_C_STORE, take)], ssl_context=peer_tls.server())
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study
    for status, _ in association.send_c_move(query, "PYSCP", StudyRootQueryRetrieveInformationModelMove, priority=1):
        last = status
    report["move"] = {"status": last.Status, "completed": last.NumberOfCompletedSuboperations, "received": len(set(moved)),
                      "priorities": sorted({priority for _, priority in moved})}
    server.shutdown()
    association.release()
    return report


def commit(host, port, study, listen_port):
    reports = queue.Queue()

    def heard(event):
        reports.put((threading.current_thread(), event.event_type, event.event_information, event.assoc.is_acceptor))
        return 0x0000, None

    def told(transaction):
        """What is said of that request; an answer whose receipt was lost comes twice. It has been answered to when this returns: while
        pynetdicom does that in a thread of its own, releasing the association may wait for its reactor for ever."""
        while True:
            answering, kind, information, called_back = reports.get(timeout=PATIENCE_SECONDS)
            answering.join()
            if str(information.TransactionUID) == transaction:
                break
        failed = information.get("FailedSOPSequence") or []
        return {"event": kind, "called back": called_back, "committed": len(information.get("ReferencedSOPSequence") or []),
                "failed": [[str(item.ReferencedSOPInstanceUID), item.FailureReason] for item in failed]}

    ae = entity()
    association = associate(ae, host, port, [build_context(StudyRootQueryRetrieveInformationModelFind)])
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study
    query.SOPInstanceUID = query.SOPClassUID = ""
    found = [(str(one.SOPClassUID), str(one.SOPInstanceUID)) for _, one in
             association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind) if one is not None]
    association.release()

    def ask(association, instances):
        action = Dataset()
        action.TransactionUID = generate_uid()
        action.ReferencedSOPSequence = []
        for cls, sop in instances:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = cls, sop
            action.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(action, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
        return str(action.TransactionUID), status.Status

    handlers = [(evt.EVT_N_EVENT_REPORT, heard)]
    report = {"found": len(found)}
    # Called back it is by an SCP that has negotiated its role.
    listener = entity()
    listener.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    server = listener.start_server(
        ("127.0.0.1", int(listen_port)), block=False, evt_handlers=handlers, ssl_context=peer_tls.server())
    # This association stays open until it has been told.
    association = associate(ae, host, port, [build_context(StorageCommitmentPushModel)], evt_handlers=handlers)
    uid, report["action"] = ask(association, [*found, (found[0][0], "1.2.3.4")])
    report["kept open"] = told(uid)
    association.release()

    # This one is released at once: whoever was about to be told over it is not heard any more.
    released = threading.Event()
    association = associate(ae, host, port, [build_context(StorageCommitmentPushModel)],
                            evt_handlers=[(evt.EVT_N_EVENT_REPORT, lambda event: (released.wait() and 0x0000, None))])
    uid, _ = ask(association, found)
    association.release()
    released.set()
    report["released"] = told(uid)
    server.shutdown()
    return report


command, host, port, *rest = sys.argv[1:]
if command in ("services", "commit"):
    answer = {"services": services, "commit": commit}[command](host, port, *rest)
else:
    given = json.loads(pathlib.Path(rest[0]).read_text())
    answer = {"store": store, "get": get}[command](host, port, given, *map(int, rest[1:]))
json.dump(answer, sys.stdout)
