"""Storage SOP classes and transfer syntaxes: pydicom has Annex A of PS3.6, pynetdicom PS3.4 Table B.5-1, each of its own edition."""

import json

from pydicom._uid_dict import UID_dictionary
from pynetdicom.sop_class import _STORAGE_CLASSES


def named(uid: str) -> bool:
    name, kind = UID_dictionary[uid][:2]
    return kind == "SOP Class" and name.split(" (")[0].split(" - ")[0].endswith("Storage")


print(
    json.dumps(
        {
            "classes": sorted({uid for uid in UID_dictionary if named(uid)} | set(_STORAGE_CLASSES.values())),
            "syntaxes": sorted(uid for uid, row in UID_dictionary.items() if row[1] == "Transfer Syntax"),
        }
    )
)
