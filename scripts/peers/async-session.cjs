// node async-session.cjs FOLDER HOST PORT STUDY DESTINATION WINDOW ANSWERED FILE...: dcmjs-dimse (installed in FOLDER) over one association with an
// asynchronous operations window of WINDOW: stores the files, then asks for a C-MOVE and, without waiting for it, for a C-FIND and a C-ECHO.
// Writes JSON: how each was answered, in the order of the final responses; to the file ANSWERED, a line for each answer as it comes.
const { appendFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { join } = require('node:path');

const [folder, host, port, study, destination, window, answered, ...files] = process.argv.slice(2);
const dimse = createRequire(join(folder, 'package.json'))('dcmjs-dimse');
const { CEchoRequest, CFindRequest, CMoveRequest, CStoreRequest } = dimse.requests;
const { Status } = dimse.constants;
dimse.log.setLevel?.('silent');

/** The client sends one request after the other; its network layer as many as it is told to. It is released here, when all are answered. */
const LINGER_MS = 2 ** 30;

function converse(requests) {
  return new Promise((resolve, reject) => {
    const client = new dimse.Client();
    const answers = [];
    let negotiated;
    let most = 0;
    for (const [name, request] of requests) {
      request.on('response', (response) => {
        most = Math.max(most, client.network.pending.length);
        if (response.getStatus() === Status.Pending) return;
        answers.push([name, response.getStatus()]);
        appendFileSync(answered, `${name}\n`);
        if (answers.length === requests.length) client.network.sendAssociationReleaseRequest();
      });
      client.addRequest(request);
    }
    client.on('associationAccepted', (association) => {
      negotiated = [association.getMaxAsyncOpsInvoked(), association.getMaxAsyncOpsPerformed()];
      setImmediate(() => {
        const more = Math.min(Number(window), requests.length) - 1;
        for (let i = 0; i < more; i++) client.network.sendRequests([]);
      });
    });
    client.on('associationRejected', () => reject(new Error('rejected')));
    client.on('networkError', reject);
    client.on('closed', () => resolve({ negotiated, most, answers }));
    const asyncOps = { maxAsyncOpsInvoked: Number(window), maxAsyncOpsPerformed: 1 };
    client.send(host, Number(port), 'ASYNC', 'NEPHOS', { asyncOps, associationLingerTimeout: LINGER_MS });
  });
}

(async () => {
  const stored = await converse(files.map((file) => [file, new CStoreRequest(file)]));
  const asked = await converse([
    ['move', CMoveRequest.createStudyMoveRequest(destination, study)],
    ['find', CFindRequest.createStudyFindRequest({ StudyInstanceUID: study })],
    ['echo', new CEchoRequest()],
  ]);
  process.stdout.write(JSON.stringify({ stored, asked }));
  process.exit(0);
})().catch((error) => {
  process.stderr.write(`${error.stack ?? error}\n`);
  process.exit(1);
});
