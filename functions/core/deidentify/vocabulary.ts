/**
 * Words that descriptive text may keep when it is cleaned: those of the code meanings of PS3.16 (context groups, as pydicom 3.0.2 lists them), of
 * them only what stands in lower case somewhere or is an acronym, and the abbreviations of protocols and descriptions; without words that
 * are also common names of persons. What is not here (a name, a place, a number of a patient) is taken out.
 */
export const VOCABULARY: ReadonlySet<string> = new Set(
  `
aapm ab abd abdo abdomen abdominal abdominis abdominopelvic abducens abductor ablation abnormal abnormalities abnormality aborigine abortion above abscess
absence absent absolute absorbed absorptiometry abuse ac acanthioparietal acceleration accentuated accepted access accessed accession accessory accident
accreditation accumulated accumulation acd ace acessorius acetabular acetabulum acetate acetrizoate acetyl acetylaspartate acetylaspartylglutamate ache
achieve achieved achilles acid acidified acoustic acq acquired acquisition acr acridine acriflavine acromion across acting action activation active actively
activity acuity acute ad adaptive adc add added addendum addition additional adductor adenocarcinoma adenoid adenoma adenopathy adenosine adenosis adhoc
adiabatic adipose adj adjacent adjusted adjustment adjuvant administered administering administration administrator admission admitted adolescent adrenergic
adult adults advance advanced adventitia adventitial adverse ae af afc affected after agatston age agent agents aggregated agn ago agonist ai aic aided aif
ain air airflow airway ais akinesia ala alaeque alanine alax albumin alcian alcohol alcoholic aldehyde ale alert algorithm algorithmic algorithms alignment
alizarin alkali alkaline all allergic allergy alliance alloy alpha alpine altered alternans alternate aluminum alveolar ambiguous america american amine
aminotransferase amniocentesis amnion amorphous amount amplitude amputation an analyses analysis analytical anastomosis anatomic anatomical anatomy anconeus
and anesthesia anesthetic aneurysm aneurysms ang angina anginal angio angiocardiography angiogram angiography angioma angioplasty angle angles angora angular
angulation anguli ani aniline animal animals anisotropy ankle annotation annotations annulus anode anomalous anomaly anonyma ant antagonist antebrachii
antecubital anterior anteriorly antero anterolateral anteroseptal anthracene anthropomorphic anti antiarrhythmic antibiotic antibody antigen antihelix
antilipemic antitragus antra anulus anus any ao aorta aortic aortopulmonary ap apad aperture apex apical apneic apocrine apparatus apparent appearance
appearing appendage appendicular appliance application applicator applied appointment apposition approach appropriate approved apso aqueduct ar arbitrary arc
arch architectural arcuate are area areas areola aries arithmetic arm around arousal arousals array arrest arrhythmia arrhythmic arrival arrive arrived art
arterial arteries arteriography arteriolosclerosis arteriosclerosis arteriosclerotic arteriosum arteriosus arteriovenous artery articular artifact artifactual
artificial as ascorbate asl asleep aspartate aspect aspiration assembly assessed assessment assigned assignment assistant assisted associated association
assurance asum asymmetric asymptomatic asynchronous at atebrin atelectasis ath atherectomy atheroma atheromatous atherosclerotic atlantoaxial atlas atomic
atresia atrial atrioventricular atrium atrophy atsm attached attachment attempt attempted attending attenuated attenuation attenuator attribute attributes
aucbn audio audit auditory augment augmentation augmented auramine auricular auricularis authentication authority authorization authorizing auto
autocorrelation automated automatic automatically autonomous autorefraction av available average averaged avoidance awaiting awakening ax axial axials axilla
axillaris axillary axis azo azocarmine azophloxin azorubin azure azurine azurol azygous b0 back background bacterial baffle bag bailout ball balloon band
bandwidth barcode barrett basal base based baseline basic basilar basilic basis basket basset bath battery bauer bay bayesian bazett bb bd be beam
beamsplitter bear bearing beat beats becquerel bedding before begin beginning behavior being below belt bengal benign benralizumab benzo berkshire berlin
bernoulli best beta between bevacizumab bh bic biceps bicisate bicycle bidirectional biebrich bifascicular bifurcation bigeminy bilat bilateral bile biliary
bilirubin billing binary biochemistry biomagnetic biomedical biometry biophysical biopsy biosafety biplane bipolar birefringence birth bis bismark bison
bisynchronous biventriculare bkb bl black bladder blanket bleach bleeding bleomycin blinatumomab blind blink blinks block blockage blocked blocker blocking
blood bloodhound bloody bloom blue blueblood blunted blur bm bmi bn boar board bob bobtail body bolus bone bones bootstrap bor border borderline borg both
bottom boundary bounding bowtie box bpd br brachial brachialis brachii brachiocephalic brachioradialis brachy brachytherapy bracke bradycardia brain brainstem
branch branching brand brazilin brca breast breasts breath breathhold breathing breed breeders brentuximab brep breve brevis bridge bright brilliant bronchial
bronchiologram bronchogram bronchus brother brought bruising bs bsa bsi buccal buccinator bud bulbi bull bulldog bullet bundle burden burning bursa bursts but
buttock button butyrate bw bwp bx by bypass c caballus cabg cad cage calcaneum calcification calcifications calcified calcium calculated calculation calf
calibration calibrator called callosum calyx cam camera campbell can canada canadian canal cancel canceled cancer canine canines cannot cannula canthus cap
capability capacity capillary capitis capsular capsule capture carbamate carbol carbon carbonate carcinoma card cardia cardiac cardiology cardiomyopathy
cardiophrenic cardiovascular care carina carmine carminic carmoisine carnae carneae carotid carpi carrier cartilage caruncle case cassette casting cat catalog
category cath catheter catheterization cattle cattlebreed catus caudad caudal caudate caudo caudodorsal caudoventral caused cava caval cavernosum cavity
cavopulmonary cavum cb cba cc cca ccu cd cda ce celestine celiac cell cells center centered centerline centerpoint centimeter central centralis centralizer
cephalad cephalic cerebellar cerebral cerebrospinal cerebrovascular ceres certainty ceruloplasmin cervical cervicales cervicis cervix cetuximab cfr cfx cg ch
chair challenge challenges chamber change changed changes channel chaos characteristic characteristics charcoal charging chd check checked checks cheek
chemotherapy chest cheviot chewing chiasm chiasma chicken chihuahua child children chills chin chip chloracetate chloride chloroacetate chol cholesterol
choline chord chordae chordal chords choroid chosen chromate chrome chromic chromium chromotrope chronic chrysoidine cic cine cingulum circle circuit circular
circulation circulatory circumference circumferential circumflex circumscribed cirsoid cisterna citation cited citrate citric ck ckd cl class classification
classified clavicle clavicular clean clear clearance clearing clinical clinically clinician clinoid clip clitoris clock close closed closest closure clot
cloud clr club cluster clustered cm co coach coaching coagulation coarctation coat coated cob cobalt coccygeal coccygeus coccyx cochlearis cocker code codes
coefficient coefficients coeliacus coenzyme coherence coil coiling colic collar collateral collection colli collie collimated collimation collimator collision
collocation colloid colloidal colon colonic colonography color colored column columns comb combination combined comedocarcinoma command commissure committee
common communicated communicating communication communis compact comparative compared comparison comparisons compartment compensation compensator complete
completed completely completion complex complexes complexion complicated complication complications component composing composite composition compound
compressed compression computation computed computer computerized con concentration concept concepts concern concha condition conditions conducted conduction
conduit cone conference confidentiality configuration configured confined confirmation confirmed confluence confocal conformal conformality conformation
conformity congenital congestive conjunctive connected connection consciousness consent conservation considered consistency constant constrained constriction
constructed consult consultant consultation consumable consumption contact contained container containing content context contextual contiguous continental
continuation continue continuing continuity continuous contour contouring contra contraception contracta contractility contraction contraindication contrast
contribution control controlled controller controls conventional convergence conversion converter converting convulsions coon coonhound coordinate coordinated
coordinates copied coplanar copy cor coracobrachialis coracoid cord cordis cordocentesis core corgi coriphosphine cornea corneal coronal coronary corporeal
corpus correct corrected correction correlation corresponding cortex corticobulbar corticospinal costae costal costarum costocervical costochondral couch
coughed count counter country counts coupling course cousin cover coverage coverslip cow cp cpap cpf cr cradle cramp cran cranial craniales cranio
cranioproximal cranium cream crease created creatine creation crescent crest cresyl cribriform cricothyroideus critical crl crocein cross crossed crosshair
crossing crt cruro crus crystal cspine ct cta ctdifreeair ctdivol ctdiw ctv cu cube cubic cubital cuff cuniculus cup curcumin curettage curled current
currently curvature curve cushion cut cutaneous cutaneus cutoff cutter cv cx cxr cyanine cyanol cycle cylinder cylindroid cyst cysteinate cystic cytologic
cytology d da dachsbracke dachshund dairy dama damage dane dark data date dates datetime daughter day days db dbi dca dce dcis de dead death debility dec
deceleration decibel deciduous decimeter decision deconvolution decorrelation decub decubitus deep deerhound default defect defects deferens defibrillation
defibrillator defined definition deflated deflection deformable deformed deformity deg degeneration degree degrees dehydration del delay delayed deleted
delivered delivery dell delphian delta deltoid deltoideus demarcated demographics dense densities densitometry density dental deoxygenation deoxynucleotidyl
departed department dependence dependent deployed deployment depolarizing deposit depreotide depression depressor depth derivative derived dermatitis des
descendants descending descent description descriptions descriptor descriptors design desmoid destination detachable detached details detected detection
detections detector determination determined determining deterministic deviation deviations device dexa dextran df dhs di diabetes diacetyl diagnosis
diagnostic diagonal diameter diaphragm diaphragmatic diaphragmatis diastole diastolic diatrizoate dibromofluorescein dichloride dichromate dicom did died
diencephalon dies diet diethlyamide diethylamide diethylenetriamine diff difference different differential differentiated differentiation difficulty diffuse
diffusion diffusivity digastricus digestion digit digital digitales digiti digitized digitizer digitorum dilatation diluent dilution dimeglumine dimension
dimensional dimer din dingo dinmont diode diopters dioxide diprotrizoate dipyridamole direct directed direction directional directive disabled disapproved
disc discarded discharge discharged discharges discomfort disconnected discontinued disease diseased diseases disintegration disk disks disodium disofenin
disorder disoriented dispense dispersion displacement display disposed dissecting dissection dissimilarity dissociation distal distance distant distortion
distraction distributed distribution disturbance diverticulum division divisor dix dixon dk dki dlp dls dn do dobutamine document dodge does doesn dog domain
domestic dominant done donor door dopa doppler dorsal dorsales dorsalis dorset dorsi dorsocaudal dorsodistal dorsolateral dorsomedial dorsoplantar dorsum dose
doses dosimeter dosimetric dosimetry dosing dot double doublet down downgaze downsloping dp dpa draft draped drop drops dru drug dsi dt dti du dual duck duct
ductal ductogram ductus due duodenum duplex duration durazol during dvd dw dwi dx dxx dxy dxz dye dyn dynamic dyscrasia dysfunction dyskinesia dysplasia
dyssynchrony dyy dyz dzz ear earliest early easi eating eccentric eccentricity ecg echo echocardiography echotexture echt eclampsia ecromeximab ecst ect
ectasia ectopic ed edd edema edge edited editing edta educational eeg eem effect effective effects effort effusion efw ei eighth ejection elastic elastography
elbow elderly electric electrical electrocardiogram electrocardiographic electrode electrodes electrogram electromagnetic electromechanical electron
electrophysiology electroretinogram elemental elevation eleventh eligibility elite elkhound ellipse ellipsoid elm elsewhere embedding embolism embolization
emergency emg emission emissive emitting emphasis emphysema empirical empted empty emulation en enabling encapsulated encephalomyelitis encoded encoding end
ended endocardial endocarditis endocavitary endocrine endoleak endometrial endorectal endothelial endothelium endovaginal endovascular endplate energy
engineering enhanced enhancement enlarged enteral entire entirely entity entorhinal entrance entrapment entropy entry environment environmental enzyme eog
eosin ep epi epicardial epigastric epileptiform epileptogenic epiploic episode epithelial epithelium epitrochlear eponymous epss equal equalization equation
equilibrium equipment equivalent equivocal erect erector ergometer erie eriochrome eroded error erythema erythematosus erythrosin es escape eskimo esophageal
esterase estimate estimated estimates estimation esur et ether ethics ethyl etidronate evaluation event events ever evidence evolution exact exaggerated
exametazime examination examiner exceeds except excessive exchange excision excitation excluded excluding excursion exercise exertion exm expanded expanding
expansion expected experimental expert expertise expiration expired explanation explicit exponent exponential export exposed exposure ext extended extension
extensor extent external externus extra extracardiac extracorporeal extracted extracting extraction extrapulmonary extrasystole extravasation extremities
extremity ey eye eyeball eyebrow eyelash eyelid eyes f fa fabrication face faced faceplate facet facial faciales facialis facility fact factor factors failed
failure fallopian fallypride false familial familiaris family fascia fasciae fascicular fasciculation fasciculus fast fasting fastpac fat father fatty faults
fb fc fcf fcpa fcpv fdg fe feature features febrile federation feed feeding feet female femoral femoralis femoris femur fetal fetus fetuses fever ff ffd fgre
fhc fiber fibers fibrillation fibrils fibrinogen fibrinoid fibro fibroadenoma fibroelastosis fibroglandular fibromatosis fibromuscular fibrosis fibrosus
fibrous fibula fibular fibularis fidelity fiducial fiducials field fiesta fifth file fill filled filler filling film films filter filtered filtering filters
filtration final finding findings finger fingers finish fio fir first fistula fit fitted fitting fixation fixative fixator fixed fk fl flail flair flash
flattening flb flexor flexure flight flip floor florbetaben flow flubatine fluence fluid fluorescein fluorescence fluorescent fluorexon fluoride fluoro
fluorodeoxyglucose fluoroethylflumazenil fluoromisonidazole fluoroscopy fluorotriopride flurpiridaz flush flutter fmiso fmri focal fold follicle follow
followed following fontanel foot for foramen force forceps forearm forefoot forehead foreign forelimb formation formatted formula fornix forward fossa fouchet
foundation four fourth fov fovea foxhound fplp fr fractal fraction fractional fractionation fractions fracture frame frames framingham free freedom freezing
french freq frequency fresolimumab fridericia frise frog from front frontal frontalis fronto frozen frs fs fse ft fta fu fuchsin full function functional
fundus funiculus fup furo fused fusiform fuzzy fwp g ga gad gait galactosyl gallbladder gallium gallocyanine galvanic gamma gammopathy gantry gap garnet gas
gasping gastric gastro gastrocnemius gastroduodenal gastrointestinal gate gatei gating gauge gaze gbc gcct gcl gctt gd ge gel general generated generator
generic genicular geniculate genioglossus genital genitalia genitourinary genu genus geois geometric geometry gestation gestational gfr gg giemsa gingiva
girdle given gland glandular glans glare glass glaucoma glcm global globulin glomerular glossopharingeus glossopharyngeal glottis gls glucoheptonate glucose
glucuronidase glutamic glutamine gluteal gluteus glycolysis gmelini gmellus goat gq gqb gqn gracilis grade graded gradient graft grafting gram grand
grandfather grandmother granuloma graph graphics gravity grayscale gre great greater greatest grey greyhound grid griffon grip grips groenendael groove gross
group grouped growth gs gtv guidance guide guided guideline gums gv gvn gx gyn gynecological gynecology h habenular habitual habitus hadlock haigis haired
hairless hairs half hallucis halo halogen hamartoma hand handler handling hands hansel hard hardening hardi hardware has haste haustra have hc hcat head
headfirst headframe heads health healthy heart heated heater heating heel height helical helix hemangioma hematein hematoma hematopoietic hematoxylin
hemifacial hemifield hemisphere hemispheric hemodynamic hemodynamics hemolymph hemorrhage heparin hepatic hepatitis herder hexacyanoferrate hfl high higher
highest highlighted hilar hilum hindfoot hindlimb hip hips hircus his histiocytoma histogram histologically histopathology historical history hiv hoc hodges
hoffer hold holder holding home homogeneity horizontal hormone horse hospital hound hounsfield hour hours housing hr ht htcm human humerus huskie hybrid
hydrate hydration hydrochloride hydrocholoride hydroxide hypercholesterolemia hyperintense hyperintensity hyperplasia hypersensitivity hypertension
hypertrophic hyperventilation hypochondriac hypogastric hypoglossal hypoglossus hypointense hypointensity hypokinesis hypoplasia hypotension hypotensive
hypothenar hysterectomy iabp iac iauc ica icrp ict id ideal identification identifier identifiers identifying identity idioventricular idm iec if igloo
ignored ii iia iib iii iiia iiib iiic iir ilcr ileocolic iliac ilio iliocostalis iliohypogastricus iliopsoas ilium ill illegible illumination illuminator
illustration ilm image imager images imaging iminodiacetate immediately immersion immunocompromised immunodeficiency immunofluorescent impaired impairment
impedance implant implantable implantation implants import imported importer impression in inadequate inappropriate inc incisional incisor incisure include
included including inclusion incompetence incomplete incoordination incorrect incorrectly increase increased increment incremental incubation independent
indeterminate index indexed indicated indication indications indicator indicis indicus indifferent indigo indirect indistinct individual individually
indophenol induced inductance induction induration inf infarct infarction infection infectious inferior inferioris inferolateral inferomedial inferoseptal
infertility infiltrating infiltration infinity inflammation inflammatory inflated inflow informant information informed infraalar infraclavicular
infraorbitalis infrared infrarenal infraspinatus infrasternal infusate infusion ingredient inguinal inguinalis inhalation inhibitor initial initiation inj
inject injectate injection injections injector injury ink inl inlet inline inner innermost innominate input inra insert inserted insertion insertional
insoluble inspection inspiration instance instances instantaneous institution institutionally instruction instrument instrumental insufficiency insulin int
intact intake integral integrated intelligence intensity intensive intent inter interaction interatrial intercostal intercostales interdigitating interest
interface interference interfering interferometric interiliac interlobar interlobular interlock intermediate intermedius intermittent internal international
internus interossei interpectoral interpolated interpretation interpsinales interspinales interstitial intertragal interval intervention interventional
interventions intervertebral intestinal intestine intima intimal into intracoronary intracranial intraductal intragenus intraglandular intraluminal
intramammary intraocular intraoperative intraparotid intrapulmonary intrathecal intravascular intravenous intraventricular introitus inv invasion invasive
inventory inverse inversion investigational involution involved involvement iod iodide iodinated iodine iodipamide iodized iodomethamate iol ion ionic
ionizing ipl ipsilateral ir iridium irig iris iron irradiating irradiation irregular irregularities irritation is ischemia ischemic ischiadicus ischium
islander isocenter isocentric isodense isodose isolated isolation isotope isovelocity isovolumic issue issuer isthmus item iterative itr itv iugr iv ivim ivus
ix jacchus janma janus jaundiced javan jaw jawline jet joint jugular junction junctional juvenile juxtaintestinal keep kenacid kennedy kennel kep keratectomy
keratometry keratomileusis keratosis keratotomy kerma key kg kidney kidneys kill kinetic kit km kn knee kneeling knees knob known kub kurtosis kutta kv kvp l
la lab label labeled labeling labia labii labium laboratory lacmoid lacrimal lactate lactation lacunar lad laden laeken lafe lagrangian lamalese lamina lamp
landmark landrace language lao large largest laringis laryngeal larynx lasek laser lasik last lat latae late lateral laterale lateralis laterality laterally
latero latissimus launcher layer lbbb lbw ldl le lead leading leads leaf leaflet leak leakage lean least leaves leen left leg legs leiomyoma leiomyosarcoma
lemniscus length lens lenses leopard lesion lesions less lesser leucofuchsin levator level levenberg library license lid lidofenin life ligament ligamentum
light like likely limb limbus limit limited limiting limits line linear liner lines linguae lingual liothyronine lip lipid lipidic liquid lissamine list
lithotomy litigation little liver livestock living ljsselvee ll ller llq lma lmp lms ln lobar lobe lobular lobulations lobule loc local localiser localization
localized localizer located location log loge logging login long longhaired longissimus longitudinal longum longus longuss loop lop lopsided lordotic loss
lossy lot low lower lowest lowland lph lpv ls lsau lsdi lspine lt lubricant lucency lumbales lumbalis lumbar lumborum lumbosacralis lumbricales lumen luminal
luminance lump lumpectomy lunbricales lung lungs lupus luq lutz luxol lv lvc lvot lvs lwh lymph lymphadenopathy lymphatic lymphogram lymphoma m mab mac
machine macula macular made mag magna magnet magnetic magnetization magnification magnum magnus main major majora majorum majus malabsorption malachite
malamute male malformation malformations malignancy malignant malinois mammary mammo mammogram mammograms mammography mammoplasty management mandible
mandibular mandibularis maneuver manganese manifest manifold manipulation manometer manual manually manubrium manufactured manufacturer manufacturing manx map
mapping margetuximab margin marginal margins marker markers marking marquardt marrow marsh martius mas mask mass masseter mastectomy masticatores mastoid
mastopathy match mater material mating matrix matter mau max maxilla maxillaris maxillary maximal maximum maximus mb mc mdct mdrd mean meaning measure
measured measurement measurements meatus mebrofenin mechanical medi media medial mediale medialis medially median mediani medianus mediastinal mediastinum
medical medication medications medicine medio mediopalmarodistal medioplantarodistal medium medius medronate meet megabecquerel meglumine melanoma melanomas
meldola mellitus membrane membri mems men menopausal menopause menstrual mental mentalis mercaptoacetyltriglycine merino mesenteric mesentery mesh
mesothelioma met metabolic metacarpal metal metanil metaplasia metastases metastasis metastatic metatarsal meter meterset method methodology methods methyl
methylene methylthiosemicarbazone methyltryptophan mg mi mibg mic micro microaggregated microarray microbiology microbubbles microcysts microdissection
microdosimetric microlobulated micrometer micropapillary microscope microscopic microscopy microspheres microwave mid midcolic middle midlayer migration
miliary millicurie milliliter millimeter millimoles millisecond min mineral miniature minimi minimize minimum minimus minor minora minus minute mip
mircroscope mird missing misuse mitral mixed ml mlc mlo mm mod modalities modality mode model modeling models moderate moderately modifications modified
modifier modifying modulation modulator mogamulizumab molar mold mole moles moment monitoring monoblock monoclonal monoxide montage month months more morgue
morphologic morphological morphology most mother motion motor motorized mount mountain mounting mouth moveable movement movements moyen mp mph mpps mpr mprage
mr mra mrcp mri mrv ms mthund mucicarmine mucocutaneous mucosa mucous multi multifidii multiparametric multiplanar multiple multiplet multiplication
multiplier multispectral multiview mural murine murmur muscle muscles musculocutaneus musculoskeletal musculus mustang mv mva mx mycotic myelin myeloma
myeloperoxidase mylohyoideus myocardial myocardium myoclonus myokymia myokymic myotonic n nadir nafl nafld nail nailing name naphthalene naphthol narmont
narrative narrowing nasal nash nasi nasolabial nasopharyngeal nasopharynx national native nature nausea navicular navigator nberg nd nder ndner ne near neck
necrosis necrotic needle needles neg negative nehb neighborhood neighbourhood neighbouring nema neointima neointimal neoplasm neoplastic nerve nervi nervous
net network neuroectodermal neurology neurophysiology neuroradiologic neuroradiology neurovascular neutral neutrophil new next ngldm ngtdm nifene night nigra
nigrosine nih nile ninth nipple nitrate nitrazine nm nmb no nodal node nodes nodule nodules noise nominal non nonaugmented noncerebral noncontact none
nonimmersion noninfiltrating nonparenchymal nonparoxysmal nonspecific nonuniformity normal normalization normalized normative north norvegicus nos nose not
notch note noted notification npo ns nsaid nsterl nubian nuchal nuclear nucleus number numeric numerical nurbs nurse nursing nyha ob obesity obinituzimab
object obl obliq oblique obliquus obscured observable observation observed observer obstetric obstructed obstruction obstructive obtained obturator
obturatorius obtuse ocaratuzumab occipital occipitofrontalis occlusion occupancy occupation occupational occurred occurrence occurrences oct ocular oculi
oculomotor oculomotorius of ofd off offset oh oi oic oil oils oiq ol old ole oled oles olfactory olinda omental on oncologic oncology one only onset oo ood
oozing op opacities opacity opaque open opening operating operation operational operations operative operator ophtalmicus ophthalmic ophthalmology
ophthalmoscopy opiate opl opp opponens opposite optic optical opticus optima optimized option or oral orange orbicularis orbit orbital orbitalis
orbitoparietal orbits orcein order ordered organ organism organization orientation orifice origin original oris oronary oropharyngeal oropharynx orthogonal os
osem osld osmolality osmolarity osmosis osseous ostium other out outer outflow outlets outline output outside ovalis ovarian ovary over overall overlaps
overridden override overriding overview ovulation oxide oxidronate oxygen oxygenation oxyquinoline pa pace pacemaker pacing package pad paddle pain paint pair
pairs palatal palate palatina palatine palatoglossal pallidus palm palmar palmares palmaris palmarodistal palmarolateral palmaromedial palpated palpation
pamphlet pan pancreas pancreatic pancreaticoduodenal pancreaticosplenic panitumumab panoramic pap paper papillary papilloma papillomas papillomatosis para
paracervical paraesophageal parallel paralysis paramammary parameter parameters parametrial paranasal pararectal paraspinal parasternal paratracheal
paravaginal paravesicular parenchyma parenchymal parent paresthesia parietal parieto parietoacanthial parotid paroxysmal parqui part partial partially
particle particles particulate party pas pass passes patella patellar patency patent path pathologic pathology pathway pathways patient patients pattern pause
pci pd pe peak peau pectineus pectoral pectoralis pectoris pediatric pedicle pedis peduncle peer peg pegdinetanib pei pellucidi pellucidum pelvic pelvis
penetration penile penis pentaacetic pentetate per perceived percent percentage percentile percutaneous perf perforating perforator performance performed
performer performing perfusion pericardial pericardiophrenic pericarditis pericardium perigastric perilesional perimeter perineum period periodic periods
perioral peripancreatic peripapillary peripheral permanent permethrin peroneal peroneus peroxidase person personal personnel pertechnetate pet petit pge ph
phantom pharmacologic pharmacological pharyngeal pharyngotympanic pharynx phase phased phenylephrine phenylpropan philtrum phlebosclerosis phloxin
phonocardiographic phosphatase phosphate phosphotungstic photodriving photography photomyogenic photon photoparadoxysmal photoreceptors phrenic phrenicus
physical physician physicist physics physiologic phytate pi pic piezocomposite pig pigmentation pin pink pinna pinscher piriform piriformis pisa pit pitch
pituitary pixel placed placement placenta placer plain plan plane planes planned planning plantae plantar plantares plantaris plantarodistal plantarolateral
plantaromedial plantodorsal plaque plasma plasmacytoma plastic plate plateau plax pleomorphic pleura pleural plexus plus pm po pod point pointer pointing
points poiseuille polar policy poliovirus pollicis polygon polymer polymorphic polyp polyvinylpyrrolidone ponceau pontamine pony poodle pool poor poorly
popcorn popliteal popliteus population porcellus port portable portal portion position positioner positioning positions positive possible possibly post
postauricular postductal posterior postero posterobasal posterolateral posteromedial postoperative postprocedure posture postvesicular potassium potential
potentially pouch povidone power pp ppm pq pqc pr prairie pre preauricular prececal preclinical predecessor predicted preductal prefemoral preformed pregnancy
pregnant prelaryngeal prem premature premolar prep preparation prepericardial prepped prepuce pres prescription presence present presentation presenting press
pressed pressure presymphysial pretracheal prevascular prevented prevertebral prevesicular previous previously primary prime primitive print printing prior
prism private prk probabilistic probability problem problems procedural procedure procedures proceeding process processed processing procion product
professional profile profunda profundus programmable programmed progress progressive projection projections prokinetic prolapse proliferation proliferative
prominence promontory pronator prone prong pronounced propagation proper properties property prophylactic proportional proprii prostaglandin prostate
prostatic prosthesis prosthetic protargol protection protocol proton proven provider proximal proximity psax pseudohermaphrodite pseudotumor psma psychiatry
pt ptca pten ptsm ptv pub pubis publication puborectalis pudendum pudendus pullback pulm pulmonary pulmonic pulsation pulse pulses pump pupillary purebred
purified purkinje purple purpose putamen putorius pvdf px pyloric pyramid pyridoxyl pyriform pyronin pyronine pyrophosphate pyruvaldehyde pyruvic pz qa qc qrs
qs qt qtc qtu quadrant quadratic quadratus quadriceps quadruped qualifier qualitative quality quantification quantify quantitative quantitification quantity
quasiperiodic quinacrine quotation quoted r ra rabbit race racemose racial rack racks rad radial radialis radiata radiation radiations radioactive
radiobiological radiofrequency radiographer radiographic radiography radioisotope radiologic radiology radiolucent radionuclide radiopaque radiopharmaceutical
radiotherapy radius rads raised range ranibizumab rank rao rapid rare raster rate rating ratio ratios raw ray rca rct rd rdsr re reach reaction read readable
reader reading ready reagent real realignment rear reason reasons rebreathing recalculated receiving recent receptor recess reciprocating recognizable
recommendation recommended recon reconstruct reconstructable reconstruction record recording records recovery rectal rectangular rectouterine rectum rectus
recumbent recut recutting red redistribution reductase reduction ref reference referenced referring reflectance reflection reflector reformat reformatting
refraction refractive refractory refused regime region regional regions registrar registration registry regression regular regulation regurgitant
regurgitation reimbursement reinjection rejected rejecting rel related relating relational relationship relative relatives relaxant relaxation relaxivity
relevant rem remission remodeling remote removal removed renal rendering renders rendition repair repeated repeating repetitive replaced replacement
repolarization report reported reporting reports repositioned repositioning representation representative request requested required requirement requirements
requires res resampling rescheduled rescheduling research reserve residual resin resistance resolution resolved resonance resource respect respiration
respiratory response responsible rest restenotic resting restless restraint restricted restrictive result results resume resurfacing retain retention retina
retinal retraction retriever retrocecal retroillumination retromolar retroperitoneal retropharyngeal retropyloric retrotracheal return returned reuse review
revised rex rgb rh rheumatic rhodamine rhomboideus rhythm rib ribs richardson ridge ridgeback right ring rise risk risorius rituximab rk rlq rnc rnfl ro roa
robotic rod roi role roledumab roles roll rolling room root rosolic rostral rotary rotation rotational rough rounded route routine row rows rp rpe rplgd rr rt
rtv ruler rules run runge runs rupture ruptured ruq rv rvot rx s sa sac saccular sacral sacrales sacralis sacrum saddleback saddlebred safe safety saffron
safranin sag sagittal saline salivary salt sam same sample samples sampling saphenofemoral saphenous saphenus sapiens sar sarcoma sartorius sat satellite
saturation sawtooth sax scale scalene scalenus scales scalp scan scanner scanning scaphoid scapula scapulae scapular scar scarlet scarred scatter scattered
scheduler scheimpflug schnauzer sclera sclerosis sclerotic scope score scoring scout screen screening screw scrofa scrotum sd se seat sec second secondary
secreting section sectional sectioning sections secure security sedated sedation sedative seed seen segment segmental segmentation segmentectomy segmented
segments seizure selected selection selective sella semi semiconductor semimembranosus seminal semispinalis semitendinosus sense sensitivity sensor sent
sentinel separation septal septi septum seq sequence sequenced sequential sequestrant serial series serous serpentine serratus serum server service sesamoid
session sestamibi set setter setup seventh severe severely severity sex sf sfr shade shading shadow shadowing shaft shallow shape shaped shaping shaving shear
sheath sheep sheepdog sheet shell shepherd shield shielding shift shin shock shoot short shortening shorthair shorthaired shorthorn shot should shoulder
showing shunt shutter sian sick side sided sides sigma sigmoid sign signal signed significance significant signs silicone silky similar simple simplified
simpson simulated simulation simultaneous simultaneously since single sinoatrial sinotubular sinus sinuses siphon sirius sister sita site sitting situ
situation sixth size skeletal skew skin skull sky sl slab sleep slice slices slide sliding slip slit slope slow small smallest smear smile smoked smoker
smoking smooth smpte sms snr sodium soft software sole soleus solid solochrome soluble solution son sonographic sop sound source sources space spacing spair
spaniel spasms spatial spatially special specialist specialty species specific specification specificity specified specimen specimens speckle spect spectacle
spectral spectroscopy spectrum speed spgr sphere spherical sphincter spiculated spiculation spiculations spike spikes spin spinae spinal spinales spinalis
spindle spine spinous spiral spirit spitz spleen splenic splenium splenius spm spontaneous spore spot sqrt squamous square squares sr srd srk srkii ssd ssde
ssing ssm sss st stable stack stage staged stain stainer stalk stand standalone standard standardized standing stannous staple start started stasis state
statement states static station stationary status std steam steatohepatitis steering stem stenoses stenosis stenotic stent stented stenting step steppe
stepping steps stereo stereometric stereoscopic stereotactic stereotactically sterile sternal sternocleidomastoid sternum steroidal sticker stimulant
stimulating stimulation stimulus stir stitching stland stomach stone stooped stop stopped stopping storage strain strategy streaks stream strength stress
stria striatum stripe stroke stroma stromal strong strongly structural structure structured structures studies study stump sub subaortic subarachnoid
subcarinal subcategory subclavian subclavius subcostal subcutaneous subepithelial subiliac subject subjective subjects sublimate submandibular submental
submentovertical submission subpart subpyloric subscapular subscapulares subscapularis subsegmental subsequent subspecies substance substituted subtraction
subtype subvalvular succeeded successful successor succimer succinate suggestive sulfate sulfon sulfur sum summary summation sunset superbreed superficial
superficialis superior superiori superioris superolateral superomedial supinator supine supplementary supply support supported supporting suppressed
suppression suppressions supraclavicular supraglottis supramammary supraorbitalis suprapyloric suprarenal supraspinatus surae sure surealis surface surgeon
surgery surgical surrounding surveillance survey surview susceptibility suspected suspend suspension sustained suture suv suvlbm svd sw swab swap swi swiss
switch symmetric symmetry symptom symptoms synchronized syncope syndrome syndromes synkinesis synthesizing synthetic synuclein syringe system systemic systems
systole systolic t table tablet tabular tachycardia tad tagged tagging tail take taken talc talus tamponade tan tangential tape taper tapetum tapse targestar
target targeting tarpan tarsus tartrazine tau taurus tbi tcd tdi teaching tears tec tech technetium technical technique technologist technology teeth
telencephalon teletherapy temp temperature template temporal temporalis temporally temporary tend tendency tendineae tendon tensor tenth teres term terminal
terminalis terminate terminated termination terrier territories territory tervuren test testicular testing tetra tetrofosmin tetroxide texture tfe tg th
thalamic thallium than the thecal thenar therapeutic therapy thermal thermistor thermocouple theta thick thickening thickness thigh thin thinning thioflavine
thionine thiosemicarbazone third this thk thoracic thoracici thoracicus thoracis thorax three threshold throat thrombectomy thrombolytic thrombosed thrombosis
thrombus through thumb thyrocervical thyroid tibia tibial tibialis tick tidal tien tile tilt time timecode timeframe timeout timer timi timing tinged tip tirm
tissue tissues titan title tm tmj to tobacco toe toes tof tofts tolerance tolling toluidine tomographer tomographic tomography tone tongue tonsil too tool
tooth top topical topo topogram topographer topographic topography toric torsion tortuosity torus total toward toy tp tr tra trabecular trace tracer trachea
tracheal tracheobronchial tracheostomy tracker tracking tract tractography tragus train trans transaminase transcutaneous transducer transesophageal transfer
transferase transferred transferrin transferring transforamenal transformation transfusion transient transients transillumination transistor transit
transition translation translational translucent transluminal transmission transmit transoral transorbital transplant transponder transport transposition
transrectal transseptal transthoracic transverse transversus trapeze trapezius trapping trastuzumab trauma traumatic tray trc treadmill treat treated
treatment treatments tremor trial triangle triangulation triatriatum tributary triceps trichrome tricuspid trifascicular trigeminal trigeminus trigger
triggered triggering triglycine trigone triloculare triolein trioxide triphasic triplet trisodium trochanter trochlear trochlearis tropaeolin trotter trotting
tru true trufi truncated truncus trunk trust trypan ts tse tspine tssh ttd ttingen tu tubal tube tubercle tubes tumor tunis tunnel turbulence turcica
turntable twelfth two type tyroartenoideus tyropanoate tz tzu ublituximab udi uid uids ulcer ulcerated ulceration ulna ulnar ulnaris ultrasonography
ultrasound um umbilical umbilicus un unadministered unavailability uncertain uncertainty uncinate unclassified unconstrained uncorrected under undetermined
undifferentiated undiluted uniform uniformity unilateral unipolar unique unit united units universal unknown unl unlimited unmounted unnecessary unobstructed
unresponsive unspecified unstageable unsuccessful unsynchronized until untrackable unusable up upgaze upper upright upsloping uptake ureter ureteric urethra
urethral urgency uri urinary uro urticaria us usa usage usb use used user using usual uteri uterine uterus uvula v va vacuum vaginal vagus value values valve
valved valveless valvular van vare variable variance varicose vascular vascularity vasculature vasculitis vasodilating vasodilator vasorum vastus ve vector
vedotin vein veins velocity ven vena vendeen venerie venogram venosus venous venticular ventilated ventilation ventilator ventral ventricle ventricular
ventriculogram ventriculography ventrocaudal verhoeff verification verified vermilion versenate version vertebra vertebral vertex vertical verticosubmental
vertrebrae vesical vesicle vesicular vessel vessels vestibularis vestibule vestibulocochlear vestibulocochlearis vestpd vf vi via viability vial vibe victoria
video view viewing views vii viii violation virus visceral viscosity visible visit visual visualized vital vitelline vitreous vizsla vl vmat vo voice voiding
vol volar voltage volume volumes volumetric voluntary vomiting voxel voxelized vp vr vs vti vulnerable vulvar w wait wake walking wall warm warmed warming
warning wash water wattle wave waveform wavefront wavelength waves wax waxoline wayson wb wchen wedge week weight weighted weighting well wet wheaten when who
whole wi wide width wild window wing winston wire wirehaired with withdrawn within without wo wolfhound women wool workflow working worklist workload world
worst wound wraparound wrist wsi wt wwo wynne x xi xii xiphoid xmab xr xylene xylidine xylose xyz y yaw ybr year yellow z zebu zero zone zones zoom zr
zygomaticus
`
    .trim()
    .split(/\s+/),
);
