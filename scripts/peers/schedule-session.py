"""Worklist, performed procedure steps, availability and user identity, asked by pynetdicom and not by Nephos' own code.

    schedule-session.py modality HOST PORT STUDY STEP    a modality's day: C-FIND of the worklist, N-CREATE, N-SET, N-GET of MPPS
    schedule-session.py identity HOST PORT NAME PASSCODE TOKEN  who is let in: {"right": [accepted, response], "wrong": ..., "nobody": ...}
    schedule-session.py listen PORT INSTANCES             an SCP of Instance Availability Notification; the first that names so many instances
    schedule-session.py department PORT MESSAGES          a department system: an SCP of MPPS that also takes MPPS Notification; what it was
                                                    told by so many messages
    schedule-session.py department PORT MESSAGES available  the same, and of Instance Availability Notification: until one names a step

Prints JSON.
"""

import json
import queue
import sys
import warnings

import own_answers  # noqa: F401
import peer_tls
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepNotification,
    ModalityPerformedProcedureStepRetrieve,
    ModalityWorklistInformationFind,
    Verification,
)

warnings.simplefilter("ignore")
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
PATIENCE_SECONDS = 200


def entity(ae_title):
    ae = AE(ae_title=ae_title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = PATIENCE_SECONDS
    return ae


def associate(host, port, classes, **more):
    return entity("PYMODALITY").associate(
        host, int(port), contexts=[build_context(uid, SYNTAXES) for uid in classes], ae_title="NEPHOS",
        tls_args=peer_tls.client(), **more)


def item_of(**values):
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def modality(host, port, study, step_id):
    report = {}
    association = associate(host, port, [
        ModalityWorklistInformationFind, ModalityPerformedProcedureStep, ModalityPerformedProcedureStepRetrieve])

    def find():
        query = item_of(PatientName="", PatientID="", StudyInstanceUID=study, AccessionNumber="", RequestedProcedureID="")
        query.SpecificCharacterSet = "ISO_IR 100"
        query.ScheduledProcedureStepSequence = [item_of(
            Modality="", ScheduledProcedureStepID=step_id, ScheduledProcedureStepStartDate="",
            ScheduledProcedureStepStatus="", ScheduledProcedureStepDescription="")]
        found = list(association.send_c_find(query, ModalityWorklistInformationFind))
        return [identifier for _, identifier in found if identifier is not None], found[-1][0].Status

    matches, report["find"] = find()
    match = matches[0]
    scheduled = match.ScheduledProcedureStepSequence[0]
    report["worklist"] = [str(match.PatientName), str(match.SpecificCharacterSet), scheduled.ScheduledProcedureStepStatus]

    created = item_of(
        PatientName=match.PatientName, PatientID=match.PatientID, PatientBirthDate="", PatientSex="",
        ReferencedPatientSequence=[], PerformedProcedureStepID="PPS1", PerformedStationAETitle="PYMODALITY",
        PerformedStationName="", PerformedLocation="", PerformedProcedureStepStartDate="20240131",
        PerformedProcedureStepStartTime="103100", PerformedProcedureStepStatus="IN PROGRESS",
        PerformedProcedureStepDescription="", PerformedProcedureTypeDescription="", ProcedureCodeSequence=[],
        PerformedProcedureStepEndDate="", PerformedProcedureStepEndTime="", Modality=scheduled.Modality, StudyID="",
        PerformedProtocolCodeSequence=[], PerformedSeriesSequence=[])
    created.ScheduledStepAttributesSequence = [item_of(
        StudyInstanceUID=study, ReferencedStudySequence=[], AccessionNumber=match.AccessionNumber,
        RequestedProcedureID=match.RequestedProcedureID, RequestedProcedureDescription="",
        ScheduledProcedureStepID=step_id, ScheduledProcedureStepDescription="", ScheduledProtocolCodeSequence=[])]
    created.SpecificCharacterSet = "ISO_IR 192"
    uid = generate_uid()
    create = lambda dataset, sop: association.send_n_create(dataset, ModalityPerformedProcedureStep, sop)[0].Status
    change = lambda dataset: association.send_n_set(dataset, ModalityPerformedProcedureStep, uid)[0]
    report["create"] = create(created, uid)
    report["duplicate"] = create(created, uid)
    report["under way"] = find()[0][0].ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus
    incomplete = Dataset()
    incomplete.update(created)
    del incomplete.Modality
    report["incomplete"] = create(incomplete, generate_uid())
    report["set"] = change(item_of(PerformedProcedureStepDescription="Kopf")).Status
    ended = item_of(
        PerformedProcedureStepStatus="COMPLETED", PerformedProcedureStepEndDate="20240131",
        PerformedProcedureStepEndTime="104500")
    report["completed without series"] = change(ended).Status
    ended.PerformedSeriesSequence = [item_of(
        PerformingPhysicianName="", ProtocolName="Head", OperatorsName="", SeriesInstanceUID=f"{study}.1",
        SeriesDescription="", RetrieveAETitle="", ReferencedNonImageCompositeSOPInstanceSequence=[],
        ReferencedImageSequence=[item_of(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=f"{study}.1.1")])]
    report["completed"] = change(ended).Status
    late = change(item_of(PerformedProcedureStepDescription="late"))
    report["late"] = [late.Status, late.ErrorID, late.ErrorComment]
    status, attributes = association.send_n_get(
        [0x00400252, 0x00400254], ModalityPerformedProcedureStep, uid,
        meta_uid=ModalityPerformedProcedureStepRetrieve)
    report["get"] = [status.Status, attributes.PerformedProcedureStepStatus, attributes.PerformedProcedureStepDescription]
    report["afterwards"] = len(find()[0])
    report["uid"] = uid
    association.release()
    return report


def identity(host, port, name, passcode, token):
    def attempt(user_type, primary, secondary=None):
        negotiation = None
        if user_type is not None:
            negotiation = UserIdentityNegotiation()
            negotiation.user_identity_type = user_type
            negotiation.primary_field = primary.encode()
            if secondary is not None:
                negotiation.secondary_field = secondary.encode()
            negotiation.positive_response_requested = True
        association = associate(host, port, [Verification], ext_neg=[negotiation] if negotiation else [])
        accepted = association.is_established
        response = association.acceptor.user_identity is not None if accepted else False
        if accepted:
            association.send_c_echo()
            association.release()
        return [accepted, response]

    return {
        "right": attempt(2, name, passcode),
        "wrong": attempt(2, name, passcode + "x"),
        "name alone": attempt(1, name),
        "token": attempt(5, token),
        "forged token": attempt(5, "eyJhbGciOiJub25lIn0.e30."),
        "nobody": attempt(None, ""),
    }


def listen(port, instances):
    told = queue.Queue()

    def take(event):
        told.put(event.attribute_list)
        return 0x0000, event.attribute_list

    def named(attributes):
        return sum(len(series.ReferencedSOPSequence) for series in attributes.ReferencedSeriesSequence)

    ae = entity("PYRIS")
    ae.add_supported_context(InstanceAvailabilityNotification, SYNTAXES)
    server = ae.start_server(
        ("127.0.0.1", int(port)), block=False, evt_handlers=[(evt.EVT_N_CREATE, take)], ssl_context=peer_tls.server())
    # A study that comes slowly may be told of before all of it has come, and is again then.
    while named(attributes := told.get(timeout=PATIENCE_SECONDS)) < int(instances):
        pass
    server.shutdown()
    return {"attributes": attributes.to_json_dict()}


def department(port, messages, available=None):
    told, notices = queue.Queue(), queue.Queue()

    def created(event):
        attributes = event.attribute_list
        if event.context.abstract_syntax == InstanceAvailabilityNotification:
            steps = attributes.ReferencedPerformedProcedureStepSequence
            notices.put([str(attributes.StudyInstanceUID), *(str(step.ReferencedSOPInstanceUID) for step in steps)])
            return 0x0000, attributes
        told.put(["create", str(event.request.AffectedSOPInstanceUID), attributes.PerformedProcedureStepStatus, str(attributes.PatientName)])
        return 0x0000, attributes

    def changed(event):
        attributes = event.modification_list
        told.put(["set", str(event.request.RequestedSOPInstanceUID), attributes.get("PerformedProcedureStepStatus")])
        return 0x0000, attributes

    def notified(event):
        told.put(["event", str(event.request.AffectedSOPInstanceUID), event.event_type])
        return 0x0000, None

    ae = entity("PYRIS")
    ae.add_supported_context(ModalityPerformedProcedureStep, SYNTAXES)
    ae.add_supported_context(InstanceAvailabilityNotification, SYNTAXES)
    ae.add_supported_context(ModalityPerformedProcedureStepNotification, SYNTAXES, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_N_CREATE, created), (evt.EVT_N_SET, changed), (evt.EVT_N_EVENT_REPORT, notified)]
    server = ae.start_server(("127.0.0.1", int(port)), block=False, evt_handlers=handlers, ssl_context=peer_tls.server())
    heard = {"steps": [told.get(timeout=PATIENCE_SECONDS) for _ in range(int(messages))]}
    if available is not None:
        while len(notice := notices.get(timeout=PATIENCE_SECONDS)) == 1:
            pass
        heard["available"] = notice
    server.shutdown()
    return heard


COMMANDS = {"modality": modality, "identity": identity, "listen": listen, "department": department}
command, *rest = sys.argv[1:]
json.dump(COMMANDS[command](*rest), sys.stdout)
