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

    public function refresh(Request $request): JsonResponse
    {
        return $this->handOut(auth('api')->refresh(), $request);
    }

    public function logout(Request $request): JsonResponse
    {
        $token = self::token($request);
        self::endRefresh();
        return $this->answer(fn () => $this->curfew->logout($token));
    }

    public function logoutAllDevices(Request $request): JsonResponse
    {
        $token = self::token($request);
        self::endRefresh();
        return $this->answer(fn () => $this->curfew->logoutAllDevices($token));
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

    /** With jwt-auth, a token is its own refresh token. */
    private static function endRefresh(): void
    {
        rescue(fn () => auth('api')->logout(), report: false);    // in a second attempt it has ended already
    }

    private function answer(\Closure $logout): JsonResponse
    {
        $outcome = $this->confirmed($logout);
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
