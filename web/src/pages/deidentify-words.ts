/** What options and refusals of de-identification mean to people; a test compares them with the archive's (test/unit/deidentify/words.test.ts). */

export const OPTION_WORDS: Readonly<Record<string, string>> = {
  retainPatientCharacteristics: 'Keep sex, age, size and weight',
  retainDeviceIdentity: 'Keep which device it was',
  retainInstitutionIdentity: 'Keep which institution it was',
  retainSafePrivate: 'Keep private attributes that the standard calls safe',
  cleanDescriptors: 'Keep descriptions, without words that may identify',
  cleanStructuredContent: 'Keep reports, without words that may identify',
  cleanGraphics: 'Keep drawn annotations, without words that may identify',
  cleanPixelData: 'Black out text in images (ultrasound: all but its regions)',
};

export const DATE_WORDS: Readonly<Record<string, string>> = {
  remove: 'are removed',
  shift: 'are moved, by days of the patient’s own',
  keep: 'are kept',
};

export const REFUSAL_WORDS: Readonly<Record<string, string>> = {
  UNKNOWN_SOP_CLASS: 'Of a kind that the archive does not know',
  RAW_DATA: 'Raw data',
  ENCAPSULATED_DOCUMENT: 'A document inside of the object',
  AUDIO: 'A recording of a voice',
  SURFACE_SCAN: 'A scan of a surface',
  PRINT: 'A print or drawing without an image',
  VIDEO: 'A video',
  TRANSFER_SYNTAX: 'In an encoding that is not written',
  SECONDARY_CAPTURE: 'A secondary capture, which often shows a name',
  SCREENSHOT: 'A screenshot or a report as an image',
  DERIVED_SECONDARY: 'A secondary image that does not say it is clean',
  BURNED_IN_ANNOTATION: 'Says itself that text is burned in',
  NOT_DECLARED_CLEAN: 'Of a kind that often has text burned in, and does not say it has none',
  ULTRASOUND_WITHOUT_REGIONS: 'Ultrasound without regions',
  ULTRASOUND_UNCLEANED: 'Ultrasound: text may be blacked out (an option)',
  VISIBLE_LIGHT: 'A photograph',
  RECOGNIZABLE_FEATURES: 'Says itself that a person may be recognized',
  SLIDE_LABEL: 'A slide’s label or overview',
  OVERLAY_IN_PIXELS: 'Has an overlay in its pixels',
  PIXELS_CANNOT_BE_CLEANED: 'Pixels that cannot be blacked out',
  IDENTIFIER_IN_BYTES: 'A name or number was found in what would have been written',
};
