// The configuration of the viewer (OHIF), served in place of the one in its package: the archive of the same origin.
// https://docs.ohif.org/configuration/dataSources/dicom-web

// Below the address of a share link (`/s/{id}/viewer`) the viewer speaks to the doors that stand there, and knows nothing else.
const sharedUnder = /^\/s\/[0-9A-Z]{26}(?=\/)/.exec(location.pathname)?.[0] ?? '';
const archive = location.origin + sharedUnder;
if (sharedUnder !== '') {
  const watermark = document.createElement('script');
  watermark.src = '/share-watermark.js';
  document.head.append(watermark);
}

window.config = {
  name: 'nephos',
  routerBasename: sharedUnder || null,
  extensions: [],
  modes: [],
  // No guided tour over the images of whoever opens the viewer for the first time.
  customizationService: { 'ohif.tours': { $set: [] } },
  // The arrow beside the logo leads to `/`: the study list of the console (see below). A guest has none.
  showStudyList: sharedUnder === '',
  maxNumberOfWebWorkers: Math.max(2, Math.min(8, (navigator.hardwareConcurrency ?? 4) - 1)),
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  experimentalStudyBrowserSort: false,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  allowMultiSelectExport: false,
  investigationalUseDialog: { option: 'never' },
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  showErrorDetails: 'production',
  defaultDataSourceName: 'nephos',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'nephos',
      configuration: {
        friendlyName: 'Nephos',
        name: 'nephos',
        wadoUriRoot: `${archive}/wado`,
        qidoRoot: `${archive}/dicomweb`,
        wadoRoot: `${archive}/dicomweb`,
        stowRoot: `${archive}/dicomweb`,
        qidoSupportsIncludeField: true,
        supportsFuzzyMatching: true,
        supportsWildcard: true,
        supportsReject: false,
        staticWado: false,
        enableStudyLazyLoad: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'thumbnail',
        thumbnailRequestStrategy: 'fetch',
        // `*`: frames come as they were received, whatever their transfer syntax; the viewer decodes them.
        requestTransferSyntaxUID: '*',
        omitQuotationForMultipartRequest: true,
        singlepart: 'bulkdata,video,pdf',
        bulkDataURI: { enabled: true },
      },
    },
  ],
  httpErrorHandler: (error) => {
    // Signed out, or the session is over: whoever it is signs in and comes back to the study, the receiver's page says so.
    if (error.status !== 401) return;
    if (sharedUnder !== '') location.assign(sharedUnder);
    else signInAndComeBack();
  },
};

// The page that was opened last; of what it cannot have, the viewer makes a page that nobody serves.
let opened = location.pathname + location.search;

// Once, however many pictures were refused. Where nobody signs in but by token, the console asks for it.
let leaving = false;
async function signInAndComeBack() {
  if (leaving) return;
  leaving = true;
  const options = await fetch('/api/session/options').catch(() => undefined);
  const { signIn } = (await options?.json().catch(() => ({}))) ?? {};
  location.assign(signIn ? `/api/session/start?returnTo=${encodeURIComponent(opened)}` : '/');
}

// On a phone the picture has the screen; the list of series waits behind its arrow.
if (matchMedia('(max-width: 48em)').matches) {
  const closed = { layoutInstance: { props: { leftPanelClosed: { $set: true } } } };
  const modes = ['longitudinal', 'basic', 'segmentation'].map((mode) => [
    `@ohif/mode-${mode}`,
    { routes: { 0: closed } },
  ]);
  window.config.modesConfiguration = Object.fromEntries(modes);
  // The tools want the whole width of the bar.
  window.config.whiteLabeling = { createLogoComponentFn: (React) => React.createElement('span') };
}

// The viewer's router would draw its own study list at `/` without leaving the page. That address is the console's, or the receiver's page.
for (const method of ['pushState', 'replaceState']) {
  const original = history[method];
  history[method] = function (state, title, url) {
    const target = new URL(url ?? location.href, location.href);
    if (!target.pathname.startsWith('/notfound')) opened = target.pathname + target.search;
    if (target.pathname === `${sharedUnder}/` && location.pathname !== target.pathname)
      location.assign(sharedUnder || '/');
    else original.call(this, state, title, url);
  };
}
