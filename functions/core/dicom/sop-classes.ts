/** A storage SOP class (PS3.4 Table B.5-1, and the retired ones of PS3.6 that archives still receive). */
export interface SopClass {
  readonly UID: string;
  readonly keyword: string;
  /** what Modality (0008,0060) usually is; empty where it can be many */
  readonly modality: string;
  /** has pixel data that can be shown, so a thumbnail can be made of it */
  readonly isImage: boolean;
  readonly retired: boolean;
}

const ROOT = '1.2.840.10008.5.1.';

/** UID behind ROOT, keyword, modality, i: image, r: retired */
const TABLE = `
1.27 StoredPrintStorage - ir
1.29 HardcopyGrayscaleImageStorage - ir
1.30 HardcopyColorImageStorage - ir
4.1.1.1 ComputedRadiographyImageStorage CR i
4.1.1.1.1 DigitalXRayImageStorageForPresentation DX i
4.1.1.1.1.1 DigitalXRayImageStorageForProcessing DX i
4.1.1.1.2 DigitalMammographyXRayImageStorageForPresentation MG i
4.1.1.1.2.1 DigitalMammographyXRayImageStorageForProcessing MG i
4.1.1.1.3 DigitalIntraOralXRayImageStorageForPresentation IO i
4.1.1.1.3.1 DigitalIntraOralXRayImageStorageForProcessing IO i
4.1.1.2 CTImageStorage CT i
4.1.1.2.1 EnhancedCTImageStorage CT i
4.1.1.2.2 LegacyConvertedEnhancedCTImageStorage CT i
4.1.1.3 UltrasoundMultiFrameImageStorageRetired US ir
4.1.1.3.1 UltrasoundMultiFrameImageStorage US i
4.1.1.4 MRImageStorage MR i
4.1.1.4.1 EnhancedMRImageStorage MR i
4.1.1.4.2 MRSpectroscopyStorage MR -
4.1.1.4.3 EnhancedMRColorImageStorage MR i
4.1.1.4.4 LegacyConvertedEnhancedMRImageStorage MR i
4.1.1.5 NuclearMedicineImageStorageRetired NM ir
4.1.1.6 UltrasoundImageStorageRetired US ir
4.1.1.6.1 UltrasoundImageStorage US i
4.1.1.6.2 EnhancedUSVolumeStorage US i
4.1.1.6.3 PhotoacousticImageStorage PA i
4.1.1.7 SecondaryCaptureImageStorage OT i
4.1.1.7.1 MultiFrameSingleBitSecondaryCaptureImageStorage OT i
4.1.1.7.2 MultiFrameGrayscaleByteSecondaryCaptureImageStorage OT i
4.1.1.7.3 MultiFrameGrayscaleWordSecondaryCaptureImageStorage OT i
4.1.1.7.4 MultiFrameTrueColorSecondaryCaptureImageStorage OT i
4.1.1.8 StandaloneOverlayStorage - r
4.1.1.9 StandaloneCurveStorage - r
4.1.1.9.1 WaveformStorageTrial - r
4.1.1.9.1.1 TwelveLeadECGWaveformStorage ECG -
4.1.1.9.1.2 GeneralECGWaveformStorage ECG -
4.1.1.9.1.3 AmbulatoryECGWaveformStorage ECG -
4.1.1.9.1.4 General32bitECGWaveformStorage ECG -
4.1.1.9.2.1 HemodynamicWaveformStorage HD -
4.1.1.9.3.1 CardiacElectrophysiologyWaveformStorage EPS -
4.1.1.9.4.1 BasicVoiceAudioWaveformStorage AU -
4.1.1.9.4.2 GeneralAudioWaveformStorage AU -
4.1.1.9.5.1 ArterialPulseWaveformStorage HD -
4.1.1.9.6.1 RespiratoryWaveformStorage RESP -
4.1.1.9.6.2 MultichannelRespiratoryWaveformStorage RESP -
4.1.1.9.7.1 RoutineScalpElectroencephalogramWaveformStorage EEG -
4.1.1.9.7.2 ElectromyogramWaveformStorage EMG -
4.1.1.9.7.3 ElectrooculogramWaveformStorage EOG -
4.1.1.9.7.4 SleepElectroencephalogramWaveformStorage EEG -
4.1.1.9.8.1 BodyPositionWaveformStorage POS -
4.1.1.9.100.1 WaveformPresentationStateStorage PR -
4.1.1.9.100.2 WaveformAcquisitionPresentationStateStorage PR -
4.1.1.10 StandaloneModalityLUTStorage - r
4.1.1.11 StandaloneVOILUTStorage - r
4.1.1.11.1 GrayscaleSoftcopyPresentationStateStorage PR -
4.1.1.11.2 ColorSoftcopyPresentationStateStorage PR -
4.1.1.11.3 PseudoColorSoftcopyPresentationStateStorage PR -
4.1.1.11.4 BlendingSoftcopyPresentationStateStorage PR -
4.1.1.11.5 XAXRFGrayscaleSoftcopyPresentationStateStorage PR -
4.1.1.11.6 GrayscalePlanarMPRVolumetricPresentationStateStorage PR -
4.1.1.11.7 CompositingPlanarMPRVolumetricPresentationStateStorage PR -
4.1.1.11.8 AdvancedBlendingPresentationStateStorage PR -
4.1.1.11.9 VolumeRenderingVolumetricPresentationStateStorage PR -
4.1.1.11.10 SegmentedVolumeRenderingVolumetricPresentationStateStorage PR -
4.1.1.11.11 MultipleVolumeRenderingVolumetricPresentationStateStorage PR -
4.1.1.11.12 VariableModalityLUTSoftcopyPresentationStateStorage PR -
4.1.1.12.1 XRayAngiographicImageStorage XA i
4.1.1.12.1.1 EnhancedXAImageStorage XA i
4.1.1.12.2 XRayRadiofluoroscopicImageStorage RF i
4.1.1.12.2.1 EnhancedXRFImageStorage RF i
4.1.1.12.3 XRayAngiographicBiPlaneImageStorage XA ir
4.1.1.13.1.1 XRay3DAngiographicImageStorage XA i
4.1.1.13.1.2 XRay3DCraniofacialImageStorage XA i
4.1.1.13.1.3 BreastTomosynthesisImageStorage MG i
4.1.1.13.1.4 BreastProjectionXRayImageStorageForPresentation MG i
4.1.1.13.1.5 BreastProjectionXRayImageStorageForProcessing MG i
4.1.1.14.1 IntravascularOpticalCoherenceTomographyImageStorageForPresentation IVOCT i
4.1.1.14.2 IntravascularOpticalCoherenceTomographyImageStorageForProcessing IVOCT i
4.1.1.20 NuclearMedicineImageStorage NM i
4.1.1.30 ParametricMapStorage - i
4.1.1.66 RawDataStorage - -
4.1.1.66.1 SpatialRegistrationStorage REG -
4.1.1.66.2 SpatialFiducialsStorage FID -
4.1.1.66.3 DeformableSpatialRegistrationStorage REG -
4.1.1.66.4 SegmentationStorage SEG i
4.1.1.66.5 SurfaceSegmentationStorage SEG -
4.1.1.66.6 TractographyResultsStorage - -
4.1.1.66.7 LabelMapSegmentationStorage SEG i
4.1.1.66.8 HeightMapSegmentationStorage SEG -
4.1.1.67 RealWorldValueMappingStorage RWV -
4.1.1.68.1 SurfaceScanMeshStorage M3D -
4.1.1.68.2 SurfaceScanPointCloudStorage M3D -
4.1.1.77.1 VLImageStorageTrial - ir
4.1.1.77.2 VLMultiFrameImageStorageTrial - ir
4.1.1.77.1.1 VLEndoscopicImageStorage ES i
4.1.1.77.1.1.1 VideoEndoscopicImageStorage ES i
4.1.1.77.1.2 VLMicroscopicImageStorage GM i
4.1.1.77.1.2.1 VideoMicroscopicImageStorage GM i
4.1.1.77.1.3 VLSlideCoordinatesMicroscopicImageStorage SM i
4.1.1.77.1.4 VLPhotographicImageStorage XC i
4.1.1.77.1.4.1 VideoPhotographicImageStorage XC i
4.1.1.77.1.5.1 OphthalmicPhotography8BitImageStorage OP i
4.1.1.77.1.5.2 OphthalmicPhotography16BitImageStorage OP i
4.1.1.77.1.5.3 StereometricRelationshipStorage - -
4.1.1.77.1.5.4 OphthalmicTomographyImageStorage OPT i
4.1.1.77.1.5.5 WideFieldOphthalmicPhotographyStereographicProjectionImageStorage OP i
4.1.1.77.1.5.6 WideFieldOphthalmicPhotography3DCoordinatesImageStorage OP i
4.1.1.77.1.5.7 OphthalmicOpticalCoherenceTomographyEnFaceImageStorage OPT i
4.1.1.77.1.5.8 OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage OPT -
4.1.1.77.1.6 VLWholeSlideMicroscopyImageStorage SM i
4.1.1.77.1.7 DermoscopicPhotographyImageStorage DMS i
4.1.1.77.1.8 ConfocalMicroscopyImageStorage CFM i
4.1.1.77.1.9 ConfocalMicroscopyTiledPyramidalImageStorage CFM i
4.1.1.78.1 LensometryMeasurementsStorage LEN -
4.1.1.78.2 AutorefractionMeasurementsStorage AR -
4.1.1.78.3 KeratometryMeasurementsStorage KER -
4.1.1.78.4 SubjectiveRefractionMeasurementsStorage SRF -
4.1.1.78.5 VisualAcuityMeasurementsStorage VA -
4.1.1.78.6 SpectaclePrescriptionReportStorage SR -
4.1.1.78.7 OphthalmicAxialMeasurementsStorage OAM -
4.1.1.78.8 IntraocularLensCalculationsStorage IOL -
4.1.1.79.1 MacularGridThicknessAndVolumeReportStorage SR -
4.1.1.80.1 OphthalmicVisualFieldStaticPerimetryMeasurementsStorage OPV -
4.1.1.81.1 OphthalmicThicknessMapStorage OPM i
4.1.1.82.1 CornealTopographyMapStorage OPM i
4.1.1.88.1 TextSRStorageTrial SR r
4.1.1.88.2 AudioSRStorageTrial SR r
4.1.1.88.3 DetailSRStorageTrial SR r
4.1.1.88.4 ComprehensiveSRStorageTrial SR r
4.1.1.88.11 BasicTextSRStorage SR -
4.1.1.88.22 EnhancedSRStorage SR -
4.1.1.88.33 ComprehensiveSRStorage SR -
4.1.1.88.34 Comprehensive3DSRStorage SR -
4.1.1.88.35 ExtensibleSRStorage SR -
4.1.1.88.40 ProcedureLogStorage SR -
4.1.1.88.50 MammographyCADSRStorage SR -
4.1.1.88.59 KeyObjectSelectionDocumentStorage KO -
4.1.1.88.65 ChestCADSRStorage SR -
4.1.1.88.67 XRayRadiationDoseSRStorage SR -
4.1.1.88.68 RadiopharmaceuticalRadiationDoseSRStorage SR -
4.1.1.88.69 ColonCADSRStorage SR -
4.1.1.88.70 ImplantationPlanSRStorage SR -
4.1.1.88.71 AcquisitionContextSRStorage SR -
4.1.1.88.72 SimplifiedAdultEchoSRStorage SR -
4.1.1.88.73 PatientRadiationDoseSRStorage SR -
4.1.1.88.74 PlannedImagingAgentAdministrationSRStorage SR -
4.1.1.88.75 PerformedImagingAgentAdministrationSRStorage SR -
4.1.1.88.76 EnhancedXRayRadiationDoseSRStorage SR -
4.1.1.88.77 WaveformAnnotationSRStorage SR -
4.1.1.90.1 ContentAssessmentResultsStorage - -
4.1.1.91.1 MicroscopyBulkSimpleAnnotationsStorage ANN -
4.1.1.104.1 EncapsulatedPDFStorage DOC -
4.1.1.104.2 EncapsulatedCDAStorage DOC -
4.1.1.104.3 EncapsulatedSTLStorage M3D -
4.1.1.104.4 EncapsulatedOBJStorage M3D -
4.1.1.104.5 EncapsulatedMTLStorage M3D -
4.1.1.128 PositronEmissionTomographyImageStorage PT i
4.1.1.128.1 LegacyConvertedEnhancedPETImageStorage PT i
4.1.1.129 StandalonePETCurveStorage PT r
4.1.1.130 EnhancedPETImageStorage PT i
4.1.1.131 BasicStructuredDisplayStorage - -
4.1.1.200.1 CTDefinedProcedureProtocolStorage - -
4.1.1.200.2 CTPerformedProcedureProtocolStorage - -
4.1.1.200.3 ProtocolApprovalStorage - -
4.1.1.200.7 XADefinedProcedureProtocolStorage - -
4.1.1.200.8 XAPerformedProcedureProtocolStorage - -
4.1.1.201.1 InventoryStorage - -
4.1.1.481.1 RTImageStorage RTIMAGE i
4.1.1.481.2 RTDoseStorage RTDOSE i
4.1.1.481.3 RTStructureSetStorage RTSTRUCT -
4.1.1.481.4 RTBeamsTreatmentRecordStorage RTRECORD -
4.1.1.481.5 RTPlanStorage RTPLAN -
4.1.1.481.6 RTBrachyTreatmentRecordStorage RTRECORD -
4.1.1.481.7 RTTreatmentSummaryRecordStorage RTRECORD -
4.1.1.481.8 RTIonPlanStorage RTPLAN -
4.1.1.481.9 RTIonBeamsTreatmentRecordStorage RTRECORD -
4.1.1.481.10 RTPhysicianIntentStorage RTINTENT -
4.1.1.481.11 RTSegmentAnnotationStorage RTSEGANN -
4.1.1.481.12 RTRadiationSetStorage RTRAD -
4.1.1.481.13 CArmPhotonElectronRadiationStorage RTRAD -
4.1.1.481.14 TomotherapeuticRadiationStorage RTRAD -
4.1.1.481.15 RoboticArmRadiationStorage RTRAD -
4.1.1.481.16 RTRadiationRecordSetStorage RTRECORD -
4.1.1.481.17 RTRadiationSalvageRecordStorage RTRECORD -
4.1.1.481.18 TomotherapeuticRadiationRecordStorage RTRECORD -
4.1.1.481.19 CArmPhotonElectronRadiationRecordStorage RTRECORD -
4.1.1.481.20 RoboticRadiationRecordStorage RTRECORD -
4.1.1.481.21 RTRadiationSetDeliveryInstructionStorage RTRAD -
4.1.1.481.22 RTTreatmentPreparationStorage - -
4.1.1.481.23 EnhancedRTImageStorage RTIMAGE i
4.1.1.481.24 EnhancedContinuousRTImageStorage RTIMAGE i
4.1.1.481.25 RTPatientPositionAcquisitionInstructionStorage - -
4.1.1.501.1 DICOSCTImageStorage CT i
4.1.1.501.2.1 DICOSDigitalXRayImageStorageForPresentation DX i
4.1.1.501.2.2 DICOSDigitalXRayImageStorageForProcessing DX i
4.1.1.501.3 DICOSThreatDetectionReportStorage - -
4.1.1.501.4 DICOS2DAITStorage - i
4.1.1.501.5 DICOS3DAITStorage - i
4.1.1.501.6 DICOSQuadrupoleResonanceStorage - -
4.1.1.601.1 EddyCurrentImageStorage - i
4.1.1.601.2 EddyCurrentMultiFrameImageStorage - i
4.34.1 RTBeamsDeliveryInstructionStorageTrial - r
4.34.7 RTBeamsDeliveryInstructionStorage - -
4.34.10 RTBrachyApplicationSetupDeliveryInstructionStorage - -
4.38.1 HangingProtocolStorage - -
4.39.1 ColorPaletteStorage - -
4.43.1 GenericImplantTemplateStorage - -
4.44.1 ImplantAssemblyTemplateStorage - -
4.45.1 ImplantTemplateGroupStorage - -
`;

/** Every storage SOP class of the standard by UID. */
export const STORAGE_SOP_CLASSES: ReadonlyMap<string, SopClass> = new Map(
  TABLE.trim()
    .split('\n')
    .map((line) => {
      const [suffix, keyword, modality, flags] = line.split(' ') as [string, string, string, string];
      const UID = ROOT + suffix;
      const isImage = flags.includes('i');
      return [UID, { UID, keyword, modality: modality === '-' ? '' : modality, isImage, retired: flags.includes('r') }];
    }),
);

/** The row of a SOP class; undefined for private ones and for those of later editions. */
export const sopClass = (UID: string): SopClass | undefined => STORAGE_SOP_CLASSES.get(UID);
