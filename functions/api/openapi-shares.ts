import { list, object, page, paging, text, time, whole } from './openapi-schema.ts';

/** What is said of share links in the OpenAPI document. */

const scopes = list({ enum: ['view', 'download', 'upload'] });
const upload = object({ into: { enum: ['shared', 'new'] }, keep: { enum: ['hold', 'store'] } });
const state = { enum: ['active', 'usedUp', 'locked', 'expired', 'revoked'] };
const share = {
  id: text,
  studies: list(text),
  scopes,
  purpose: { ...text, description: 'shown to both' },
  receiver: { ...text, description: 'name of who gets it; in the watermark' },
  upload,
  createdAt: time,
  createdBy: text,
  expiresAt: time,
  openingsMost: { type: ['integer', 'null'], description: 'null: as often as wanted' },
  openings: whole,
  lastOpenedAt: time,
  state,
  hasPin: { type: 'boolean' },
  wrongPins: whole,
  ended: object({ how: { enum: ['revoked', 'expired'] }, at: time, by: text }),
};
const optional = ['upload', 'lastOpenedAt', 'ended'];
const act = object(
  {
    at: time,
    act: {
      enum: [
        'created',
        'opened',
        'wrongPin',
        'locked',
        'refused',
        'viewed',
        'downloaded',
        'uploaded',
        'revoked',
        'expired',
      ],
    },
    by: text,
    from: text,
    study: text,
    instances: whole,
    state,
  },
  ['by', 'from', 'study', 'instances', 'state'],
);
const session = object(
  {
    id: text,
    receiver: text,
    purpose: text,
    sharedBy: text,
    expiresAt: time,
    endsAt: { ...time, description: 'end of this session' },
    scopes,
    upload: object({ into: { enum: ['shared', 'new'] } }),
    watermark: text,
    studies: list(
      object({
        StudyInstanceUID: text,
        PatientName: text,
        StudyDate: text,
        StudyDescription: text,
        ModalitiesInStudy: list(text),
        instances: whole,
        sizeBytes: whole,
      }),
    ),
  },
  ['upload'],
);

export const SHARE_OPERATIONS = {
  CreateShare: {
    status: 201,
    summary: 'Make a share link; its address, with the secret, is in this answer alone (docs/sharing.md)',
    requestBody: object(
      {
        studies: list(text),
        scopes,
        purpose: text,
        receiver: text,
        expiresInHours: { type: 'integer', minimum: 1, description: '168 where absent' },
        openings: { type: ['integer', 'null'] },
        pin: { ...text, description: '4 to 12 digits' },
        upload,
      },
      ['studies', 'expiresInHours', 'openings', 'pin', 'upload'],
    ),
    response: { schema: object({ ...share, url: text }, optional) },
  },
  ListShares: {
    summary: 'Share links of the caller, newest first; for administrators of everybody',
    parameters: [...paging, { name: 'study', description: 'of this study alone', schema: text }],
    response: { schema: page(object(share, optional)) },
  },
  GetShare: { summary: 'One share link', response: { schema: object(share, optional) } },
  RevokeShare: { summary: 'End a share link, and every session opened by it, at once' },
  GetShareTrail: {
    summary: 'What was done with a share link, oldest first',
    parameters: paging,
    response: { schema: page(act) },
  },
  ListShareUploads: {
    summary: 'What came in by a share link and waits in quarantine',
    response: { schema: object({ items: list({ type: 'object' }), more: { type: 'boolean' } }) },
  },
  DecideShareUploads: {
    summary: 'Accept or discard what came in by a share link, up to a hundred objects at a time',
    requestBody: object({ action: { enum: ['accept', 'discard'] } }),
    response: { schema: object({ decided: whole, left: whole }) },
  },
  LookAtShare: {
    summary: 'Below the address of a link (`/s/{id}`): what its receiver is told before it is opened',
    requestBody: object({ secret: text }),
    response: {
      schema: object(
        {
          state,
          sharedBy: text,
          receiver: text,
          expiresAt: time,
          scopes,
          needsPin: { type: 'boolean' },
          purpose: text,
        },
        ['purpose'],
      ),
    },
  },
  OpenShare: {
    summary: 'Below the address of a link: open it, which uses up one opening, and get the cookie of a guest’s session',
    requestBody: object({ secret: text, pin: text }, ['pin']),
    response: { schema: session },
  },
  GetGuestSession: {
    summary: 'Below the address of a link: what the guest may see and do; 401 without a session',
    response: { schema: session },
  },
  CloseGuestSession: { summary: 'Below the address of a link: end the guest’s session' },
} as const;
