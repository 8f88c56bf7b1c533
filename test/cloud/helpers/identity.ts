import type { Deployed } from './deployment.ts';

/** A call of Cognito's own API; the command line's clients would be another package for four calls. */
async function cognito(deployed: Deployed, operation: string, parameters: object): Promise<Record<string, never>> {
  const response = await fetch(deployed.engine.endpoint, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': `AWSCognitoIdentityProviderService.${operation}`,
      authorization:
        'AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/cognito-idp/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: JSON.stringify(parameters),
  });
  const answer = (await response.json()) as Record<string, never>;
  if (!response.ok) throw new Error(`${operation}: ${JSON.stringify(answer)}`);
  return answer;
}

const PASSWORD = 'Correct-horse-battery-5';

/** Makes a user of a group, as docs/deploy-aws.md tells the first administrator, and signs in. @returns the identity token */
export async function signIn(deployed: Deployed, email: string, group: string): Promise<string> {
  const UserPoolId = deployed.output('Identity', 'UserPoolId');
  await cognito(deployed, 'AdminCreateUser', {
    UserPoolId,
    Username: email,
    MessageAction: 'SUPPRESS',
    TemporaryPassword: PASSWORD,
    UserAttributes: [
      { Name: 'email', Value: email },
      { Name: 'email_verified', Value: 'true' },
    ],
  });
  await cognito(deployed, 'AdminSetUserPassword', { UserPoolId, Username: email, Password: PASSWORD, Permanent: true });
  await cognito(deployed, 'AdminAddUserToGroup', { UserPoolId, Username: email, GroupName: group });
  return signInAgain(deployed, email);
}

/** A new identity token of somebody who has signed in before: one holds for a quarter of an hour. */
export async function signInAgain(deployed: Deployed, email: string): Promise<string> {
  const ClientId = deployed.output('Identity', 'ClientId');
  const answer = await cognito(deployed, 'InitiateAuth', {
    ClientId,
    AuthFlow: 'USER_PASSWORD_AUTH',
    AuthParameters: { USERNAME: email, PASSWORD },
  });
  return (answer.AuthenticationResult as unknown as { IdToken: string }).IdToken;
}
