"""One session of Python's dicomweb-client with a server: store, search, retrieve in every way, delete.

Arguments: DICOMweb root, a Part 10 file of a CT image. Prints what was seen as JSON; an exception is the failure.
"""

import hashlib
import io
import json
import sys
import warnings

import pydicom
from dicomweb_client.api import DICOMwebClient
from requests.exceptions import HTTPError

warnings.simplefilter("ignore")
root, path = sys.argv[1:]
sent = pydicom.dcmread(path)
ids = (sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID)
client = DICOMwebClient(root)
seen = {}

answer = client.store_instances([sent])
seen["stored"] = [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence]
seen["failed"] = len(answer.get("FailedSOPSequence", []))

studies = client.search_for_studies(search_filters={"PatientID": sent.PatientID}, fields=["PatientName"])
seen["studies"] = [study["0020000D"]["Value"][0] for study in studies]
seen["nobody"] = client.search_for_studies(search_filters={"PatientID": "no such patient"})
seen["series"] = [series["0020000E"]["Value"][0] for series in client.search_for_series(ids[0])]
seen["instances"] = [instance["00080018"]["Value"][0] for instance in client.search_for_instances(ids[0], ids[1])]


def pixels_sha256(dataset):
    return hashlib.sha256(dataset.PixelData).hexdigest()


seen["pixels"] = pixels_sha256(sent)
seen["instance"] = pixels_sha256(client.retrieve_instance(*ids))
seen["asStored"] = pixels_sha256(client.retrieve_instance(*ids, media_types=(("application/dicom", "*"),)))
seen["seriesPixels"] = [pixels_sha256(dataset) for dataset in client.retrieve_series(*ids[:2])]
seen["studyPixels"] = [pixels_sha256(dataset) for dataset in client.retrieve_study(ids[0])]
seen["frame"] = hashlib.sha256(client.retrieve_instance_frames(*ids, frame_numbers=[1])[0]).hexdigest()
seen["rendered"] = client.retrieve_instance_rendered(*ids, media_types=("image/png",))[:8].hex()
seen["renderedFrame"] = client.retrieve_instance_frames_rendered(*ids, frame_numbers=[1], media_types=("image/jpeg",))[:3].hex()

metadata = client.retrieve_instance_metadata(*ids)
# dicomweb-client hands out one data set or a list of one, by its version.
metadata = metadata[0] if isinstance(metadata, list) else metadata
seen["metadata"] = metadata["00080018"]["Value"][0]
read = pydicom.Dataset.from_json(metadata, lambda tag, vr, uri: hashlib.sha256(client.retrieve_bulkdata(uri)[0]).digest())
seen["patient"] = str(read.PatientName) == str(sent.PatientName)
seen["bulkdata"] = read.PixelData.hex()
seen["seriesMetadata"] = len(client.retrieve_series_metadata(*ids[:2]))
seen["studyMetadata"] = len(client.retrieve_study_metadata(ids[0]))

client.delete_instance(*ids)
try:
    client.retrieve_instance(*ids)
    seen["deleted"] = False
except HTTPError as error:
    seen["deleted"] = error.response.status_code
json.dump(seen, sys.stdout)
