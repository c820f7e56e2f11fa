//! Gives git its token, and a fresh one when the first is refused. Decides nothing about what is fetched.

use secrecy::SecretString;

use super::JobError;
use crate::checkout::CheckoutError;
use crate::github::{Access, RepoClient};

/// Fetches with a token that may only read code. When git is refused, the token may have been revoked (a private
/// repository is then simply not there), so it is tried once more with a new one.
///
/// # Errors
/// [`JobError`] when there is no token; what git says is inside.
pub async fn with_token<T, Fetching>(
    client: &RepoClient,
    fetch: impl Fn(SecretString) -> Fetching,
) -> Result<Result<T, CheckoutError>, JobError>
where
    Fetching: Future<Output = Result<T, CheckoutError>>,
{
    let token = client.token(Access::Checkout).await?;
    let result = fetch(token.clone()).await;
    if !matches!(result, Err(CheckoutError::Unauthorized(_) | CheckoutError::NotFound(_))) {
        return Ok(result);
    }
    client.forget_token(Access::Checkout, &token).await;
    Ok(fetch(client.token(Access::Checkout).await?).await)
}
