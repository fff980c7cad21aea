<?php

declare(strict_types=1);

namespace App\Http\Controllers;

use App\Services\Curfew;
use App\Services\CurfewNotConfirmed;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Hash;

/**
 * Login, refresh, logout and password change with the package jwt-auth and the guard `api`.
 *
 * The routes of both logouts stay outside the middleware `auth:api`: after a 503 the client comes again, with a token that
 * jwt-auth does not take any more, and this second attempt must reach Curfew.
 */
final class AuthController
{
    public function __construct(private readonly Curfew $curfew)
    {
    }

    public function login(Request $request): JsonResponse
    {
        $token = auth('api')->attempt($request->only('email', 'password')) ?: abort(401);
        return $this->handOut($token, $request);
    }

    /**
     * jwt-auth ends the old token when it makes the new one. So if the new one is not registered, the client has no token
     * left that it could come again with: it gets 401 instead of 503, and logs in again.
     */
    public function refresh(Request $request): JsonResponse
    {
        $old = self::token($request) ?? self::unauthorized('There is no token. Log in.');
        $token = self::ifTaken(fn () => auth('api')->setToken($old)->refresh())
            ?? self::unauthorized('The token has expired, has ended or is invalid. Log in again.');
        try {
            $this->curfew->register($token, $request->userAgent(), $request->ip());
        } catch (CurfewNotConfirmed) {
            self::unauthorized('The old token has ended, and the new one is not registered. Log in again.');
        }
        return response()->json(['access_token' => $token]);
    }

    public function logout(Request $request): JsonResponse
    {
        $token = self::token($request);
        self::endRefresh($token);
        return self::loggedOut($this->confirmed(fn () => $this->curfew->logout($token)));
    }

    public function logoutAllDevices(Request $request): JsonResponse
    {
        $token = self::token($request);
        self::endRefresh($token);
        $outcome = $this->confirmed(fn () => $this->curfew->logoutAllDevices($token));
        if ($outcome === Curfew::REFUSED) {
            self::unauthorized('Nothing is logged out: the token has expired or is invalid. Log in and try again.');
        }
        return self::loggedOut($outcome);
    }

    public function changePassword(Request $request): JsonResponse
    {
        $user = $request->user();
        $user->update(['password' => Hash::make($request->validate(['password' => 'required|confirmed'])['password'])]);
        $this->confirmed(fn () => $this->curfew->logoutUser($user->getAuthIdentifier()));
        // Registered, because it is issued in the second of the logout.
        return $this->handOut(auth('api')->login($user), $request);
    }

    private function handOut(#[\SensitiveParameter] string $token, Request $request): JsonResponse
    {
        $this->confirmed(fn () => $this->curfew->register($token, $request->userAgent(), $request->ip()));
        return response()->json(['access_token' => $token]);
    }

    private static function token(Request $request): ?string
    {
        return $request->bearerToken() ?? $request->cookie('token');
    }

    /** With jwt-auth, a token is its own refresh token, also when it has expired. A second attempt finds it ended. */
    private static function endRefresh(#[\SensitiveParameter] ?string $token): void
    {
        if ($token === null) {
            return;
        }
        $manager = auth('api')->manager();
        try {
            $manager->setRefreshFlow();    // takes the token as long as it can be refreshed
            self::ifTaken(fn () => auth('api')->setToken($token)->logout());
        } catch (\Throwable $error) {
            // Such as the cache, or JWT_BLACKLIST_ENABLED=false. Without the error itself, whose trace may hold the token.
            report(new \RuntimeException('The token could not be ended: '.$error->getMessage()));
            abort(503, 'The logout is NOT confirmed: the token can still be refreshed. Try again.', ['Retry-After' => 1]);
        } finally {
            $manager->setRefreshFlow(false);
        }
    }

    /** What the call returns, or null if jwt-auth does not take the token. These are both packages of that name. */
    private static function ifTaken(\Closure $call): mixed
    {
        try {
            return $call();
        } catch (
            \PHPOpenSourceSaver\JWTAuth\Exceptions\TokenExpiredException
            | \PHPOpenSourceSaver\JWTAuth\Exceptions\TokenInvalidException
            | \Tymon\JWTAuth\Exceptions\TokenExpiredException
            | \Tymon\JWTAuth\Exceptions\TokenInvalidException
        ) {
            return null;
        }
    }

    private static function unauthorized(string $why): never
    {
        abort(401, $why, ['WWW-Authenticate' => 'Bearer']);
    }

    private static function loggedOut(string $outcome): JsonResponse
    {
        return response()->json(['outcome' => $outcome])->withoutCookie('token')->header('Clear-Site-Data', '"storage"');
    }

    /** What is not confirmed is a 503, and the cookie stays, so that the client can try again. */
    private function confirmed(\Closure $call): mixed
    {
        try {
            return $call();
        } catch (CurfewNotConfirmed $error) {
            abort(503, $error->getMessage(), ['Retry-After' => $error->retryAfter ?? 1]);
        }
    }
}
